"""Hooks of the site: pages from outside `docs`, generated references, and links that hold on GitHub as well.

Pages in `docs` link to files of the repository as GitHub does. The site turns such a link into one to its own page if
it has one, and else into one to the repository. A link to a file that does not exist is an error.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

# mkdocs loads hooks without their folder.
from site_reference import cli_page, strategies_page  # noqa: E402
from trajectory_figures import draw, trajectories  # noqa: E402

OUTSIDE = ("CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "RELEASE.md", "SECURITY.md")
LINK = re.compile(r"(?P<start>\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages that not every checkout has, and the card of each dataset."""
    if (ROOT / "SECURITY.md").is_file():
        config.nav[-1]["Project"].append({"Security": "SECURITY.md"})
    cards = [f"dataset_cards/{path.name}" for path in sorted((ROOT / "docs" / "dataset_cards").glob("*.md"))]
    next(each["Reference"] for each in config.nav if "Reference" in each).append({"Datasets": cards})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the leaderboard, documents of the repository and generated references."""
    from stampbench.benchmark.cli.main import cli

    published = sorted((ROOT / "leaderboards").iterdir())
    paths = [ROOT / name for name in OUTSIDE if (ROOT / name).is_file()]
    paths += [each for each in published if each.suffix in (".md", ".svg")]
    for path in paths:
        files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    figures = trajectories(ROOT / "leaderboards")
    captions = {name: figure.caption for name, figure in figures.items()}
    pages = {
        "reference/cli.md": cli_page(cli),
        "reference/strategies.md": strategies_page(ROOT / "leaderboards" / "boards.md", captions),
    } | {f"reference/trajectories/{name}.svg": draw(figure) for name, figure in figures.items()}
    for uri, content in pages.items():
        files.append(File.generated(config, uri, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Resolve links as on GitHub.

    Raises:
        PluginError: when a link names a file that does not exist.
    """
    uri = page.file.src_uri
    here = repository_path(uri)

    def resolved(found: re.Match[str]) -> str:
        target, anchor = found["target"], found["anchor"] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
        site = path.removeprefix("docs/")
        if site in files.src_uris:
            target = os.path.relpath(site, posixpath.dirname(uri) or ".")
        elif (ROOT / path).exists():
            target = f"{config.repo_url}/blob/main/{path}"
        else:
            raise PluginError(f"{here}: link to {target}, which does not exist")
        return f"{found['start']}{target}{anchor})"

    return LINK.sub(resolved, markdown)


def repository_path(uri: str) -> str:
    """Return where a page's file is in the repository; generated pages are treated as files of `docs`."""
    return uri if (ROOT / uri).is_file() else f"docs/{uri}"
