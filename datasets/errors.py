"""What can be wrong with data that a user hands over."""


class DatasetError(ValueError):
    """A dataset, file or split that cannot be used; the message is one line naming it."""
