"""Trained networks applied to images, and exported to other formats."""
