"""Prepare a release: check, write the version, run all checks, commit and tag; nothing is pushed or uploaded.

Usage: python tools/release.py VERSION
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from datetime import UTC, date, datetime
from pathlib import Path

VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
KINDS = ("added", "changed", "fixed", "removed")
"""Kinds of changes, in the order of the changelog."""
CHECKS = ("check", "wheel", "docs")
"""Make targets that have to pass."""


class ReleaseError(Exception):
    """A reason why there can be no release."""


def parse(version: str) -> tuple[int, ...]:
    """Return the numbers of a version.

    Raises:
        ReleaseError: when it is not MAJOR.MINOR.PATCH.
    """
    if not VERSION.fullmatch(version):
        raise ReleaseError(f"version '{version}': expected MAJOR.MINOR.PATCH, for example 0.2.0")
    return tuple(map(int, version.split(".")))


def released(changelog: str, version: str, day: date) -> str:
    """Return the changelog with the entries of `Unreleased` moved below a version and its date.

    Raises:
        ReleaseError: when there is no section `Unreleased`, or it is empty.
    """
    found = re.search(r"^## Unreleased\n(.*?)(?=^## |\Z)", changelog, re.DOTALL | re.MULTILINE)
    if found is None or not found[1].strip():
        raise ReleaseError("CHANGELOG.md: no entries below '## Unreleased'")
    section = f"## Unreleased\n\n## {version} ({day.isoformat()})\n\n{found[1].strip()}\n"
    rest = changelog[found.end() :]
    return changelog[: found.start()] + section + (f"\n{rest}" if rest else "")


def fragments(folder: Path) -> list[Path]:
    """Return the files with entries of the changelog, `NAME.KIND.md`, sorted.

    Raises:
        ReleaseError: when a file has another name, or an entry does not begin with a dash.
    """
    found = sorted(path for path in folder.glob("*") if path.name != "README.md")
    for path in found:
        if not re.fullmatch(rf"[\w-]+\.({'|'.join(KINDS)})\.md", path.name):
            raise ReleaseError(f"changes/{path.name}: expected NAME.KIND.md, where KIND is {', '.join(KINDS)}")
        if not path.read_text().startswith("- "):
            raise ReleaseError(f"changes/{path.name}: an entry begins with '- '")
    return found


def gathered(changelog: str, entries: list[Path]) -> str:
    """Return the changelog with entries of files added below `Unreleased`, each in the section of its kind."""
    start = re.search(r"^## Unreleased\n", changelog, re.MULTILINE)
    if start is None:
        raise ReleaseError("CHANGELOG.md: no section '## Unreleased'")
    following = re.compile(r"^## ", re.MULTILINE).search(changelog, start.end())
    end = len(changelog) if following is None else following.start()
    before, sections = changelog[: start.end()], {}
    first, *parts = re.split(r"^### (\w+)\n", changelog[start.end() : end], flags=re.MULTILINE)
    for title, text in zip(parts[::2], parts[1::2], strict=True):
        sections[title.lower()] = text.strip("\n")
    for path in entries:
        kind = path.name.split(".")[-2]
        sections[kind] = "\n".join(filter(None, (sections.get(kind, ""), path.read_text().strip("\n"))))
    order = [*KINDS, *(kind for kind in sections if kind not in KINDS)]
    written = [f"### {kind.capitalize()}\n\n{sections[kind].lstrip()}\n" for kind in order if kind in sections]
    return (
        before
        + (f"{first.rstrip()}\n\n" if first.strip() else "\n")
        + "\n".join(written)
        + "\n" * (following is not None)
        + changelog[end:]
    )


def with_version(text: str, version: str) -> str:
    """Return `pyproject.toml` with another version."""
    return re.sub(r'^version = ".*"$', f'version = "{version}"', text, count=1, flags=re.MULTILINE)


def cited(text: str, version: str, day: date) -> str:
    """Return `CITATION.cff` with another version and its date."""
    kept = [line for line in text.splitlines() if not line.startswith("date-released:")]
    dated = f"version: {version}\ndate-released: {day.isoformat()}"
    lines = [dated if line.startswith("version:") else line for line in kept]
    return "\n".join(lines) + "\n"


def check_repository(root: Path, version: str) -> None:
    """Check that a release can be made from this checkout.

    Raises:
        ReleaseError: when it is not clean, not on main, not of this project, or has this or a newer version.
    """
    if changed := _git(root, "status", "--porcelain"):
        raise ReleaseError(f"the checkout has changes: {', '.join(line[3:] for line in changed.splitlines())}")
    if (branch := _git(root, "rev-parse", "--abbrev-ref", "HEAD")) != "main":
        raise ReleaseError(f"the checkout is on branch {branch}, releases are made from main")
    repository = tomllib.loads((root / "pyproject.toml").read_text())["project"]["urls"]["Repository"]
    origin = _git(root, "config", "--default", "", "remote.origin.url")
    if origin.removesuffix(".git").replace("git@github.com:", "https://github.com/") != repository:
        raise ReleaseError(f"origin is '{origin}', but pyproject.toml names {repository}; correct the wrong one")
    tags = [tag[1:] for tag in _git(root, "tag", "--list", "v*").split() if VERSION.fullmatch(tag[1:])]
    newest = max(tags, key=parse, default=None)
    if newest is not None and parse(version) <= parse(newest):
        raise ReleaseError(f"version {version} is not newer than {newest}")


def prepare(root: Path, version: str, day: date) -> None:
    """Write the version and the date into the files that have them."""
    changelog = root / "CHANGELOG.md"
    entries = fragments(root / "changes")
    changelog.write_text(released(gathered(changelog.read_text(), entries), version, day))
    for path in entries:
        path.unlink()
    project, citation = root / "pyproject.toml", root / "CITATION.cff"
    project.write_text(with_version(project.read_text(), version))
    citation.write_text(cited(citation.read_text(), version, day))


def main(root: Path, version: str) -> None:
    """Make a release commit and its tag."""
    parse(version)
    check_repository(root, version)
    prepare(root, version, datetime.now(UTC).date())
    for target in CHECKS:
        if subprocess.run(["make", target], cwd=root).returncode != 0:
            raise ReleaseError(f"make {target} failed; 'git checkout .' undoes the changes")
    _git(root, "commit", "--all", "--message", f"Release {version}")
    _git(root, "tag", "--annotate", f"v{version}", "--message", f"stampbench {version}")
    print(f"committed and tagged v{version}; RELEASE.md says how to publish it")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True)
    if done.returncode != 0:
        raise ReleaseError(f"git {words[0]} failed: {done.stderr.strip()}")
    return done.stdout.strip("\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(Path(__file__).resolve().parent.parent, sys.argv[1])
    except ReleaseError as error:
        sys.exit(f"error: {error}")
