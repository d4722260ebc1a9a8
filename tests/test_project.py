"""What a project needs beside its code: citation, releases, workflows, containers."""

from __future__ import annotations

import re
import subprocess
import tomllib
from datetime import date
from importlib import util
from pathlib import Path
from types import ModuleType

import check_jsonschema
import pytest
import yaml
from click.testing import CliRunner

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(each for each in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if each.stem != "config")
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """The script of `make release`."""
    return load("release")


def load(name: str) -> ModuleType:
    spec = util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("schema", "paths"),
    [
        ("vendor.citation-file-format", [ROOT / "CITATION.cff"]),
        ("vendor.github-workflows", WORKFLOWS),
        ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ("vendor.github-issue-forms", FORMS),
        ("vendor.github-issue-config", [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"]),
    ],
)
def test_files_of_other_tools_follow_their_schemas(schema: str, paths: list[Path]) -> None:
    assert paths
    done = CliRunner().invoke(check_jsonschema.main, ["--builtin-schema", schema, *map(str, paths)])
    assert done.exit_code == 0, done.output


def test_citation_has_the_version_licence_and_repository_of_the_package() -> None:
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]
    assert CITATION["repository-code"] == PROJECT["urls"]["Repository"]
    assert [each["name"] for each in CITATION["authors"]] == [each["name"] for each in PROJECT["authors"]]


def test_workflows_call_make_targets_only() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set()
    for path in WORKFLOWS:
        for job in yaml.safe_load(path.read_text())["jobs"].values():
            for command in [step["run"] for step in job["steps"] if "run" in step]:
                first, *words = command.split()
                assert first == "make"
                called |= {word for word in words if "=" not in word}
    assert called <= targets
    assert {"lint", "test", "test-lowest", "wheel", "docs", "tables"} <= called


def test_workflows_test_every_supported_python() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    declared = [each.rpartition(" ")[2] for each in PROJECT["classifiers"] if "Python :: 3." in each]
    assert jobs["tests"]["strategy"]["matrix"]["python"] == declared


def test_no_workflow_may_write_or_reads_text_of_strangers_in_a_shell() -> None:
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            assert not any("${{" in step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_dockerfiles_are_slim_pinned_and_without_root(path: Path) -> None:
    text = path.read_text()
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    bases = [line.split()[1] for line in lines if line.startswith("FROM ")]
    assert bases
    assert all("-slim-" in base and ":latest" not in base for base in bases)
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 1000:1000"
    installs = re.findall(r"pip install (?:.*\\\n)*.*", text)
    assert installs
    assert all("--no-cache-dir" in each and "--constraint constraints.txt" in each for each in installs)
    assert "apt-get" not in text
    assert 'VOLUME ["/data", "/cache", "/work/runs"]' in lines
    extras = re.search(r"\"\.\[(.*)\]\"", text)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])


def test_images_get_only_what_the_wheel_is_built_from() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.partition("/")[0] for path in tool["package-dir"].values()}
    assert folders <= {line[1:] for line in allowed if line.startswith("!")}


def test_release_moves_the_unreleased_entries_below_the_version(release: ModuleType) -> None:
    before = "# Changelog\n\n## Unreleased\n\n### Added\n\n- A.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n"
    after = release.released(before, "0.2.0", date(2026, 3, 4))
    expected = "## Unreleased\n\n## 0.2.0 (2026-03-04)\n\n### Added\n\n- A.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n"
    assert after == f"# Changelog\n\n{expected}"
    with pytest.raises(release.ReleaseError, match="no entries"):
        release.released(after, "0.3.0", date(2026, 3, 5))


def test_entries_of_the_folder_changes_get_into_their_sections(release: ModuleType, tmp_path: Path) -> None:
    before = "# Changelog\n\n## Unreleased\n\n### Changed\n\n- A.\n\n## 0.1.0 (2026-01-01)\n\n- First.\n"
    (tmp_path / "README.md").write_text("# Changes\n")
    assert release.gathered(before, release.fragments(tmp_path)) == before
    (tmp_path / "b.changed.md").write_text("- B,\n  in two lines.\n")
    (tmp_path / "c-1.added.md").write_text("- C.")
    after = release.gathered(before, release.fragments(tmp_path))
    assert after == before.replace(
        "### Changed\n\n- A.\n", "### Added\n\n- C.\n\n### Changed\n\n- A.\n- B,\n  in two lines.\n"
    )
    (tmp_path / "d.new.md").write_text("- D.")
    with pytest.raises(release.ReleaseError, match=r"changes/d\.new\.md: expected NAME\.KIND\.md"):
        release.fragments(tmp_path)
    (tmp_path / "d.new.md").rename(tmp_path / "d.fixed.md").write_text("D.")
    with pytest.raises(release.ReleaseError, match="begins with '- '"):
        release.fragments(tmp_path)


def test_changelog_and_changes_of_this_repository_can_be_gathered(release: ModuleType) -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert release.gathered(text, []) == text
    release.gathered(text, release.fragments(ROOT / "changes"))


def test_release_writes_the_version_where_tests_compare_it(release: ModuleType) -> None:
    day = date(2026, 3, 4)
    text = release.with_version((ROOT / "pyproject.toml").read_text(), "7.8.9")
    assert tomllib.loads(text)["project"]["version"] == "7.8.9"
    assert "setuptools>=77" in tomllib.loads(text)["build-system"]["requires"]
    once = release.cited((ROOT / "CITATION.cff").read_text(), "7.8.8", day)
    cited = yaml.safe_load(release.cited(once, "7.8.9", day))
    assert (cited["version"], cited["date-released"]) == ("7.8.9", day)
    assert {key: value for key, value in cited.items() if key not in ("version", "date-released")} == {
        key: value for key, value in CITATION.items() if key not in ("version", "date-released")
    }


def test_release_needs_a_clean_checkout_of_main_of_this_repository(release: ModuleType, tmp_path: Path) -> None:
    def git(*words: str) -> None:
        identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *identity, *words], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "pyproject.toml").write_text('[project]\nurls = {Repository = "https://github.com/a/b"}\n')
    git("init", "--initial-branch", "work")
    with pytest.raises(release.ReleaseError, match=r"has changes: pyproject\.toml"):
        release.check_repository(tmp_path, "0.2.0")
    git("add", ".")
    git("commit", "--message", "first")
    with pytest.raises(release.ReleaseError, match="branch work"):
        release.check_repository(tmp_path, "0.2.0")
    git("branch", "--move", "main")
    with pytest.raises(release.ReleaseError, match="origin is ''"):
        release.check_repository(tmp_path, "0.2.0")
    git("remote", "add", "origin", "git@github.com:a/b.git")
    release.check_repository(tmp_path, "0.2.0")
    git("tag", "v0.9.0")
    git("tag", "v0.10.0")
    with pytest.raises(release.ReleaseError, match=r"0\.9\.1 is not newer than 0\.10\.0"):
        release.check_repository(tmp_path, "0.9.1")
    with pytest.raises(release.ReleaseError, match=r"expected MAJOR\.MINOR\.PATCH"):
        release.parse("v1")


def test_every_requirement_has_a_lowest_version_for_the_tests_with_it() -> None:
    script = load("lowest_versions")
    pinned = script.lowest(PROJECT["dependencies"])
    assert "torch==2.6" in pinned
    assert len(pinned) == len(PROJECT["dependencies"])
    with pytest.raises(ValueError, match="numpy: no lower bound"):
        script.lowest(["numpy"])


def test_the_hashed_constraints_have_the_versions_that_were_tested() -> None:
    tested = {line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    hashed = (ROOT / "constraints-hashed.txt").read_text()
    found = dict(re.findall(r"^(\S+==\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", hashed, re.MULTILINE))

    def normal(line: str) -> str:
        return re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() + "==" + line.partition("==")[2]

    assert {normal(line) for line in found} == {normal(line) for line in tested if not line.startswith("torch==")}
