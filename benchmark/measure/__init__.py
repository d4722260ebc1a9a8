"""Scores of segmentations and costs of networks: overlap, distances, FLOPs, memory, latency."""
