"""What can be wrong with a strategy's settings or a plug-in."""


class StrategyError(ValueError):
    """A strategy that cannot do what it is asked; the message is one line."""
