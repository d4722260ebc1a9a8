"""Runs from a request to a record: plan, order, execute here or on a cluster."""
