"""Files of a new plug-in, written from templates."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from stampbench.benchmark.errors import UserError
from stampbench.datasets.atomic_file import write_text
from stampbench.models.plugin import snake_case


def write_template(
    kind: str, name: str, taken: Mapping[str, str | None], folder: Path, templates: tuple[str, str]
) -> tuple[Path, Path]:
    """Write `NAME.py` and `test_NAME.py` into `folder` and return their paths.

    Args:
        kind: what is written, for messages.
        name: its name.
        taken: names that exist, with their origins; None: the package itself.
        folder: where the files are written.
        templates: texts of both files with `{name}` and `{cls}`.

    Raises:
        UserError: when the name is not a snake_case identifier or is taken, or a file exists or cannot be written.
    """
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower() or name.startswith("_"):
        raise UserError(f"{kind} name '{name}' is not a snake_case identifier such as my_idea")
    if name in taken:
        raise UserError(f"{kind} name '{name}' is taken by {taken[name] or 'stampbench'}")
    cls = "".join(part.capitalize() for part in name.split("_"))
    if snake_case(cls) != name:
        raise UserError(f"{kind} name '{name}' does not match its class name {cls}; use '{snake_case(cls)}'")
    first, second = folder / f"{name}.py", folder / f"test_{name}.py"
    for path in (first, second):
        if path.exists():
            raise UserError(f"{path} exists already")
    if find_spec(name) is not None:
        raise UserError(f"{kind} name '{name}' is that of a Python module, which the file would hide")
    try:
        for path, text in zip((first, second), templates, strict=True):
            write_text(path, text.format(name=name, cls=cls))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error
    return first, second
