"""Suite files: inheritance, quick variants, and errors with file and line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.suite_file import load_suite
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.expand_suite import expand_suite

Command = Callable[..., tuple[int, str, str]]


def number_of_runs(path: Path, **options: bool) -> int:
    return len(expand_suite(load_suite(str(path), **options), lambda request: request.open(None)))


def test_extending_files_and_quick_variants_replace_keys(write_suite: Callable[..., Path]) -> None:
    write_suite(name="base.yaml")
    child = write_suite("extends: base.yaml\nseeds: [0]\nquick: {folds: [0], n_train: 8}\n")
    assert number_of_runs(child) == 12
    assert number_of_runs(child, quick=True) == 3
    loop = write_suite("extends: loop.yaml\n", "loop.yaml")
    with pytest.raises(UserError, match=r"loop.yaml: extends itself"):
        load_suite(str(loop))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("folds:", "fold:"), "suite.yaml:6: unknown key 'fold'; did you mean 'folds'?"),
        (("grid:", "gird:"), "suite.yaml:3: unknown key 'strategies.1.gird'; did you mean 'grid'?"),
        (("seeds: [0, 3]", "seeds: [0, x]"), "suite.yaml:7: seeds.1='x': input should be a valid integer"),
        (("name: standard", "name: standart"), "suite.yaml:2: unknown strategy 'standart'; did you mean 'standard'?"),
        (("f: 2, depth: 1", "width: 2"), "suite.yaml:2: unknown hyperparameter of standard 'width'"),
        (("f: 2, depth: 1", "f: two"), "suite.yaml:2: strategy 'standard': f='two'"),
        (("phantom2d:", "phantom4d:"), "suite.yaml:4: unknown dataset 'phantom4d:size=16,cases=14'"),
        (("[6, 8]", "[6, many]"), "suite.yaml:5: n_train.1='many': neither 'all' nor a number of images"),
        (("folds: [0, 1]", "folds: [0, 7]"), "suite.yaml:6: no fold 7"),
        (("protocol: quick", "protocol: quik"), "suite.yaml:8: unknown protocol 'quik'; did you mean 'quick'?"),
        (("max_epochs", "epochs"), "suite.yaml:8: unknown protocol setting 'epochs'"),
        (("strategies:", "strategies: ["), "suite.yaml:2: not valid YAML"),
        (("name: standard", "name: all"), "suite.yaml:2: strategy 'all': an entry names one strategy"),
        (("[1, 2]}}", "[]}}"), "suite.yaml:3: strategies.1.grid.f=[]"),
        (("seeds: [0, 3]", "seeds: &a [*a]"), "an alias contains itself"),
        (("[6, 8]", "[6, 99]"), "suite.yaml:2: dataset 'phantom2d': 99 training images requested"),
    ],
)
def test_errors_name_file_line_and_nearest_match(
    change: tuple[str, str], message: str, suite_text: str, write_suite: Callable[..., Path], stampbench: Command
) -> None:
    path = write_suite(suite_text.replace(*change, 1))
    code, _, err = stampbench("suite", "run", path, "--dry-run")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert message in err


def test_unknown_key_of_an_explicit_run_is_reported_with_its_line(
    suite_text: str, write_suite: Callable[..., Path]
) -> None:
    path = write_suite(suite_text + "runs:\n  - seeds: [1]\n  - seed: [1]\n")
    with pytest.raises(UserError, match=r"suite.yaml:12: unknown key 'runs.1.seed'; did you mean 'seeds'\?"):
        load_suite(str(path))


@pytest.mark.parametrize("text", ["", "- a\n", "strategies: [standard]\n", "datasets: [phantom2d]\n"])
def test_files_that_are_not_suites_are_refused(text: str, write_suite: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match=r"suite.yaml: (not a mapping|names no strategy)"):
        load_suite(str(write_suite(text)))
