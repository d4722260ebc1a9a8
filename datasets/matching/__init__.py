"""Which files belong to which case, by patterns of their names."""
