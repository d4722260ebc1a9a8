"""Definition files: datasets of a user as YAML, with the same keys as the built-in definitions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stampbench.benchmark.config.bounded_yaml import read_yaml
from stampbench.benchmark.config.validated import validated
from stampbench.benchmark.errors import UserError, unknown
from stampbench.datasets.definition import Definition

ENDINGS = (".yaml", ".yml")
"""Endings of definition files."""
_OWN = ("source", "folder", "split_version")
"""Keys whose values are not written as they are in the model."""


def read_definition(path: Path) -> Definition:
    """Read a definition file; its folder is relative to the file, which is the default.

    Raises:
        UserError: when the file does not exist or is not a valid definition; the message names the key.
    """
    try:
        content, _ = read_yaml(path)
    except UserError as error:
        raise UserError(f"definition file {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"definition file {path}: is not a mapping of keys such as name and patterns")
    known = [key for key in Definition.model_fields if key != "source"]
    for key in content:
        if key not in known:
            raise unknown(f"key of definition file {path}", str(key), known)
    path = path.expanduser().resolve()
    given = {"name": path.stem, "summary": f"defined by {path.name}", "split_version": 2, **content}
    if given.get("phantom") is None:
        folder = str(content.get("folder", "."))
        if "\0" in folder:
            raise UserError(f"definition file {path}: folder: contains a null byte, which no path does")
        given["folder"] = str((path.parent / folder).resolve())
    return validated(Definition, f"definition file {path}", given | {"source": str(path)})


def definition_text(definition: Definition, folder: str) -> str:
    """Return the content of a definition file, with the keys that differ from their defaults.

    Args:
        definition: the definition.
        folder: its folder, relative to the file.
    """
    content: dict[str, Any] = definition.model_dump(mode="json", exclude_defaults=True)
    content = {key: value for key, value in content.items() if key not in _OWN}
    if folder != ".":
        content["folder"] = folder
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
