"""The site: complete references, links that hold, and pages whose commands work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit

import pytest
from click.testing import CliRunner

from stampbench.benchmark.cli.main import cli
from stampbench.strategies.registry import STRATEGIES

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "leaderboards").glob("*.md")])
PYTHON_PAGE = (ROOT / "docs" / "reference" / "python.md").read_text()


def tool(name: str) -> ModuleType:
    """Return a script of the folder `tools`, which may import others of it."""
    spec = util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "tools"))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    """The script that makes reference pages."""
    return tool("site_reference")


class _Page(HTMLParser):
    """Ids, links and files that a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in ("img", "script") and "src" in values:
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") in ("stylesheet", "icon"):
            self.loads.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def public_names() -> Iterator[str]:
    """Yield the full names of all classes and functions that the Python page promises."""
    for name in re.findall(r"^::: (\S+)$", PYTHON_PAGE, re.MULTILINE):
        module = import_module(name)
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", None) == name]
        for each in getattr(module, "__all__", own):
            if not each.startswith("_"):
                yield f"{name}.{each}"


def test_the_python_page_covers_what_users_import() -> None:
    names = set(public_names())
    assert {
        "stampbench.benchmark.api.run",
        "stampbench.benchmark.api.ComputeSettings",
        "stampbench.strategies.base.Strategy",
        "stampbench.strategies.base.Trainer",
        "stampbench.strategies.testing.check_conformance",
        "stampbench.datasets.definition.Definition",
    } <= names
    # Modules that documents, templates and the README tell people to import.
    texts = [path.read_text() for path in DOCUMENTS] + [(ROOT / "benchmark/config/strategy_template.py").read_text()]
    imported = {pair for text in texts for pair in re.findall(r"from (stampbench\.\S+) import (\w+)", text)}
    # A package such as stampbench.strategies exports names of its modules.
    documented = {name.rpartition(".")[0] for name in names}
    for module, name in imported - {("stampbench.benchmark.config.template", "write_template")}:  # the module's own
        assert module in documented or getattr(import_module(module), name).__module__ in documented, (module, name)


def test_every_command_and_option_has_an_entry(reference: ModuleType) -> None:
    page = reference.cli_page(cli)
    sections = dict(re.findall(r"^## (stampbench.*)\n((?:(?!^## ).*\n)*)", page, re.MULTILINE))
    assert len(sections) > 25
    for title, text in sections.items():
        printed = CliRunner().invoke(cli, [*title.split()[1:], "--help"], prog_name="stampbench").output
        options = set(re.findall(r"^  (?:-\w, )?(--[a-z][\w-]+)", printed, re.MULTILINE))
        assert options, title
        assert all(f"`{option}`" in text for option in options), title
        commands = re.findall(r"^  ([a-z][\w-]+)  ", printed.partition("\nCommands:\n")[2], re.MULTILINE)
        assert all(f"{title} {command}" in sections for command in commands), title


def test_every_strategy_has_an_entry_with_formulas_and_hyperparameters(reference: ModuleType) -> None:
    page = reference.strategies_page(ROOT / "leaderboards" / "boards.md", {"stamp": "a run"})
    assert page.count("![Trajectory of a run](trajectories/stamp.svg)") == 1
    for name, entry in STRATEGIES.items():
        if entry.origin is None:
            section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
            assert re.search(r"\n    \S.* = .*\n", section), name
            assert all(f"| `{field}` |" in section for field in entry.load().model_fields), name
            assert all(f"**{value}**" in section for value in entry.preset.values()), name


def test_formulas_say_what_distinguishes_strategies(reference: ModuleType) -> None:
    page = reference.strategies_page(ROOT / "leaderboards" / "boards.md", {})
    sections = dict(re.findall(r"^## (\w+)\n((?:(?!^## ).*\n)*)", page, re.MULTILINE))
    expected = {
        "standard": ("f · 2^i", "`patience` epochs"), "flat": ("every level = f",), "stamp": ("argmin s_lk", "train R"),
        "stamp_d": ("p_l = 0.037",), "stamp_plus": ("p_l = b · μ_l / max_m μ_m",), "random_largest": ("argmax F_l",),
        "random_uniform": ("~ U over all filters",), "prune_finetune": ("in a parent run", "and prune again"),
        "sauron": ("below τ_l",), "width_at_init": ("before s jumps",), "swift": ("blocks of `stride` voxels",),
        "depgraph": ("mean_k m_lk",), "distill": ("KL(",), "retrain_scratch": ("checkpoint s of the parent run",),
    }  # fmt: skip
    for name, texts in expected.items():
        assert all(text in sections[name] for text in texts), name
    assert "argmin" not in sections["random_largest"]
    assert "p_l" not in sections["stamp"].partition("| hyperparameter")[0]


def test_trajectories_are_published_runs_or_dry_runs() -> None:
    figures = tool("trajectory_figures")
    published = figures._published(ROOT / "leaderboards")
    assert {"stamp", "stamp_plus", "random_largest", "prune_finetune"} <= set(published)
    assert "validation Dice" in svg_text(figures.draw(published["stamp"]))
    dry = figures._dry("random_uniform")
    counts = dry.checkpoints["parameters"]
    assert counts.is_monotonic_decreasing
    assert counts.iloc[-1] < counts.iloc[0] / 50
    assert figures.draw(dry) == figures.draw(dry)


def svg_text(text: str) -> str:
    """Return the texts of an SVG that matplotlib wrote, which are comments beside their outlines."""
    return "\n".join(re.findall(r"<!-- (.*?) -->", text))


def test_rows_of_variants_belong_to_their_strategy(reference: ModuleType) -> None:
    header = "| tier | strategy | Dice (95 %) | Δ to standard (95 %) | decision | epochs |\n|---|---|---|---|---|---|\n"
    first, second = "| 1 | flat (f=8) | 0.9 | +0.1 | better | 5 |", "| 2 | flat | 0.7 | – | x | 6 |"
    text = f"### a\n\n{header}{first}\n\n### b\n\n{header}{second}\n"
    rows = reference.published_rows(text)
    assert rows == {"flat": [("a", "1", "flat (f=8)", "0.9", "+0.1", "better"), ("b", "2", "flat", "0.7", "–", "x")]}


def test_texts_of_the_code_are_no_markup_but_for_names_in_backticks(reference: ModuleType) -> None:
    assert reference.escape("a_b | `c_d` <N>") == r"a\_b \| `c_d` \<N\>"


def test_every_page_of_the_leaderboard_is_in_the_navigation() -> None:
    """mkdocs warns of other pages itself; those of the leaderboard are outside its folder."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT).as_posix() for path in (ROOT / "leaderboards").glob("*.md")]
    assert [page for page in pages if f": {page}\n" not in navigation] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_of_documents_lead_to_files_and_headings(path: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", path.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        parts = urlsplit(target)
        if parts.scheme:
            continue
        found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        generated = ROOT / "docs" / "reference"
        assert found.exists() or found in {generated / "cli.md", generated / "strategies.md"}, target
        if parts.fragment and found.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}
            assert parts.fragment in slugs, target


@pytest.mark.slow
def test_every_public_name_has_an_entry_on_the_site(site: Path) -> None:
    ids = _Page((site / "reference" / "python.html").read_text()).ids
    assert [name for name in public_names() if name not in ids] == []


@pytest.mark.slow
def test_links_of_the_site_hold_and_nothing_is_loaded_from_other_hosts(site: Path) -> None:
    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(pages) > 15
    broken = []
    for path, page in pages.items():
        for target in (*page.links, *page.loads):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads:
                    broken.append((path.name, target))
                continue
            found = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if found.is_dir():
                found /= "index.html"
            if not found.exists() or (parts.fragment and parts.fragment not in pages[found].ids):
                broken.append((path.name, target))
    assert broken == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["start", "tutorial"])
def test_commands_of_a_page_work(
    name: str, tmp_path: Path, own_images: Callable[[Path], Path], run_page: Callable[..., str]
) -> None:
    own_images(tmp_path)
    commands = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    run_page(ROOT / "docs" / f"{name}.md", tmp_path, environment)
    made = {
        "start": ["network.onnx", "labels/patient01.png"],
        "tutorial": ["along.svg", "layers.svg", "report/index.html", "pruned.pt2", "labels/image.png"],
    }
    assert [each for each in made[name] if not (tmp_path / each).is_file()] == []
