"""Print constraints that pin every requirement of pyproject.toml to its lowest version, for `make test-lowest`."""

from __future__ import annotations

import tomllib
from pathlib import Path


def lowest(requirements: list[str]) -> list[str]:
    """Return `name==version` for each `name>=version`.

    Raises:
        ValueError: when a requirement has no lower bound.
    """
    pinned = []
    for each in requirements:
        name, found, version = each.partition(">=")
        if not found:
            raise ValueError(f"{each}: no lower bound")
        pinned.append(f"{name.partition('[')[0]}=={version}")
    return pinned


if __name__ == "__main__":
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    print("\n".join(lowest(project["dependencies"])))
