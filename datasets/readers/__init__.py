"""Readers of a dataset's cases."""
