"""What can be wrong with a network that a user hands over."""


class ModelError(ValueError):
    """An architecture or a weights file that cannot be used; the message is one line."""
