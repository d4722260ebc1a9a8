"""Weights of networks: initial ones, files of them, and those that somebody else trained."""
