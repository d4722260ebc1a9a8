"""Networks: architectures as data, modules built from them, filter removal, and weights on disk."""
