"""Suite files: inheritance, quick variants, and errors with file and line."""

from __future__ import annotations

import os
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
    with pytest.raises(UserError, match=r"base.yaml: the suite has no key 'quick'"):
        load_suite(str(child.with_name("base.yaml")), quick=True)
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
        (("name: standard", 'name: "\\ud800"'), "suite.yaml:2: a text holds half of a character"),
        (("[6, 8]", "[6, 99]"), "suite.yaml:2: dataset 'phantom2d': 99 training images requested"),
        (("folds: [0, 1]", "folds: 1000000000"), "suite.yaml:6: no fold 1000000000"),
        (("folds: 2,", "folds: 1000000000,"), "suite.yaml:8: protocol 'quick': folds=1000000000"),
        (("cases=14", "cases=100000000"), "suite.yaml:4: dataset 'phantom2d': cases='100000000'"),
        (("seeds: [0, 3]", f"seeds: [{'9' * 5000}]"), "suite.yaml:7: a number has 5,000 characters; at most 40"),
        (("seeds: [0, 3]", f"seeds: [0b{'1' * 50_000}]"), "suite.yaml:7: a number has 50,002 characters"),
        (("seeds: [0, 3]", "seeds: [99999999999999999999]"), "suite.yaml:7: seeds.0=99999999999999999999"),
        (("seeds: [0, 3]", "seeds: " + "[" * 50_000), "nested too deeply"),
        (("seeds: [0, 3]", "seeds: " + "[" * 30 + "]" * 30), "suite.yaml:7: nested more than 20 deep"),
        (("seeds: [0, 3]", f"seeds: {list(range(2000))}\ntraining_sets: {list(range(2000))}"), "runs in one grid"),
        (("seeds: [0, 3]", "seeds: [2001-99-99]"), "not valid YAML (month must be in 1..12)"),
        (("seeds: [0, 3]", "seeds: [!!timestamp x]"), "not valid YAML"),
        (("seeds: [0, 3]", "1: 2"), "key 1 is not text"),
        (("folds: [0, 1]", "folds: [1.9]"), "suite.yaml:6: folds=[1.9]: neither 'all' nor fold numbers"),
        (("folds: [0, 1]", "folds: true"), "suite.yaml:6: folds=True: neither 'all' nor fold numbers"),
        (("seeds: [0, 3]", "seeds: [0]\nseeds: [3]"), "suite.yaml:1: the key 'seeds' is there twice"),
        (("seeds: [0, 3]", f"seeds: [0] # {'x' * 100_000}"), "suite.yaml: larger than 100,000 bytes"),
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


def test_aliases_that_multiply_are_refused_quickly(write_suite: Callable[..., Path], stampbench: Command) -> None:
    rows = [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    path = write_suite("\n".join(["a0: &a0 [x]", *rows, "strategies: *a11"]))
    code, _, err = stampbench("suite", "run", path, "--dry-run")
    assert (code, "more than 20,000 keys and values, aliases included" in err) == (2, True), err


def test_grids_that_multiply_are_counted_and_not_expanded(
    suite_text: str, write_suite: Callable[..., Path], stampbench: Command
) -> None:
    grid = ", ".join(f"k{key}: {list(range(50))}" for key in range(8))
    path = write_suite(suite_text.replace("grid: {f: [1, 2]}", f"grid: {{{grid}}}"))
    code, out, _ = stampbench("suite", "show", path)
    assert (code, f"flat ({50**8} variants)" in out) == (0, True), out


def test_suites_that_extend_each_other_without_end_are_refused(write_suite: Callable[..., Path]) -> None:
    path = write_suite("extends: folder/../suite.yaml\n")
    (path.parent / "folder").mkdir()
    with pytest.raises(UserError, match="more than 10 suites extend each other"):
        load_suite(str(path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "suite.yaml")
    with pytest.raises(UserError, match="not a regular file"):
        load_suite(str(tmp_path / "suite.yaml"))
