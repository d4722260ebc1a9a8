"""Networks whose filters are found by following channels through a forward pass."""
