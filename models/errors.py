"""Exceptions of the `models` package."""


class ModelError(ValueError):
    """An architecture, a weights file or an input that a network cannot use; the message is one line."""
