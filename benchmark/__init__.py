"""The harness that all strategies share, from a request to a record; see CONTRIBUTING.md for its rooms."""
