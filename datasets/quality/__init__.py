"""Checks of a dataset's images and labels."""
