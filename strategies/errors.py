"""Exceptions of the `strategies` package."""


class StrategyError(ValueError):
    """Invalid hyperparameters, a failing strategy or an unusable plug-in; the message is one line."""
