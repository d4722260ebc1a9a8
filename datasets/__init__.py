"""Datasets: definitions, download, reading, preprocessing, splits and quality control."""
