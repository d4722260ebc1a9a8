"""The error raised for datasets, files and splits that cannot be used."""


class DatasetError(ValueError):
    """A dataset, file or split cannot be used; the message is one line that names it.

    Attributes:
        setting: Name of the setting that a user can change to mend the error: `data_root`, `folds`, `n_train` or
            `subject_pattern`; None if no single setting helps. The command line turns it into a hint such as
            `--data-root`.
    """

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting
