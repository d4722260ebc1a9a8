"""Suites: what they unfold into, what is wrong with them and on which line, and the papers' ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.suite_file import load_suite, suite_names
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.expand_suite import expand_suite
from stampbench.benchmark.execution.job import Task
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.catalogue import CATALOGUE

Command = Callable[..., tuple[int, str, str]]

SUITE = """\
strategies:
  - {name: standard, set: {f: 2, depth: 1}}
  - {name: flat, set: {depth: 1}, grid: {f: [1, 2]}}
datasets: ["phantom2d:size=16,cases=14"]
n_train: [6, 8]
folds: [0, 1]
seeds: [0, 3]
protocol: quick
protocol_set: {folds: 2, max_epochs: 2}
"""


def write(tmp_path: Path, text: str, name: str = "mine.yaml") -> Path:
    (tmp_path / name).write_text(text)
    return tmp_path / name


def expand(name: Path | str, data_root: Path | None = None, **options: bool) -> list[Task]:
    return expand_suite(load_suite(str(name), **options), lambda request: request.open(data_root))


def titles(path: Path | str, **options: bool) -> list[str]:
    return [task.job.title for task in expand(path, **options)]


def test_a_grid_unfolds_into_every_combination(tmp_path: Path) -> None:
    found = titles(write(tmp_path, SUITE))
    assert len(found) == len(set(found)) == 3 * 2 * 2 * 2
    assert "phantom2d n=8 fold 1 seed 3 flat (f=1, depth=1)" in found


def test_jobs_make_the_runs_they_stand_for(tmp_path: Path) -> None:
    for task in expand(write(tmp_path, SUITE)):
        assert task.job.plan(None).spec == task.run.spec
        assert type(task.job).model_validate_json(task.job.model_dump_json()) == task.job


def test_sources_come_first_and_once(tmp_path: Path) -> None:
    text = SUITE.replace(
        "  - {name: flat, set: {depth: 1}, grid: {f: [1, 2]}}",
        "  - {name: retrain_scratch, set: {f: 2, depth: 1, every_steps: 2}}\n"
        "  - {name: prune_finetune, set: {f: 2, depth: 1}}",
    )
    tasks = expand(write(tmp_path, text))
    ids = [task.job.id for task in tasks]
    assert len(ids) == len(set(ids)) == 8 * 4  # standard, retrain_scratch with its stamp_plus, prune_finetune
    for index, task in enumerate(tasks):
        assert {source.spec.id for source in task.run.parents.values()} <= set(ids[:index])
    # PruneFinetune's pre-training is the standard run itself.
    standard = {task.job.id for task in tasks if task.job.strategy == "standard"}
    pruned = [task for task in tasks if task.job.strategy == "prune_finetune"]
    assert {source.spec.id for task in pruned for source in task.run.parents.values()} == standard


def test_explicit_runs_each_change_some_of_the_suite(tmp_path: Path) -> None:
    found = titles(
        write(tmp_path, SUITE + "runs:\n  - {n_train: 6, seeds: [1]}\n  - {strategies: [stamp], folds: 0}\n")
    )
    assert len(found) == 3 * 2 + 2 * 2
    assert {title.split(" seed ")[0] for title in found if "stamp" in title} == {
        "phantom2d n=6 fold 0",
        "phantom2d n=8 fold 0",
    }


def test_extends_and_quick_replace_keys(tmp_path: Path) -> None:
    write(tmp_path, SUITE, "base.yaml")
    child = write(tmp_path, "extends: base.yaml\nseeds: [0]\nquick: {folds: [0], n_train: 8}\n")
    assert len(titles(child)) == 12
    assert len(titles(child, quick=True)) == 3
    loop = write(tmp_path, "extends: loop.yaml\n", "loop.yaml")
    with pytest.raises(UserError, match=r"loop.yaml: extends itself"):
        load_suite(str(loop))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("folds:", "fold:"), "mine.yaml:6: unknown key 'fold'; did you mean 'folds'?"),
        (("grid:", "gird:"), "mine.yaml:3: unknown key 'strategies.1.gird'; did you mean 'grid'?"),
        (("seeds: [0, 3]", "seeds: [0, x]"), "mine.yaml:7: seeds.1='x': input should be a valid integer"),
        (("name: standard", "name: standart"), "mine.yaml:2: unknown strategy 'standart'; did you mean 'standard'?"),
        (("f: 2, depth: 1", "width: 2"), "mine.yaml:2: unknown hyperparameter of standard 'width'"),
        (("f: 2, depth: 1", "f: two"), "mine.yaml:2: strategy 'standard': f='two'"),
        (("phantom2d:", "phantom4d:"), "mine.yaml:4: unknown dataset 'phantom4d:size=16,cases=14'"),
        (("[6, 8]", "[6, many]"), "mine.yaml:5: n_train.1='many': neither 'all' nor a number of images"),
        (("folds: [0, 1]", "folds: [0, 7]"), "mine.yaml:6: no fold 7"),
        (("protocol: quick", "protocol: quik"), "mine.yaml:8: unknown protocol 'quik'; did you mean 'quick'?"),
        (("max_epochs", "epochs"), "mine.yaml:8: unknown protocol setting 'epochs'"),
        (("strategies:", "strategies: ["), "mine.yaml:2: not valid YAML"),
        (("name: standard", "name: all"), "mine.yaml:2: strategy 'all': an entry names one strategy"),
        (("[1, 2]}}", "[]}}"), "mine.yaml:3: strategies.1.grid.f=[]"),
        (("seeds: [0, 3]", "seeds: &a [*a]"), "an alias contains itself"),
        (("[6, 8]", "[6, 99]"), "mine.yaml:2: dataset 'phantom2d': 99 training images requested"),
    ],
)
def test_faults_are_told_with_file_line_and_nearest_name(
    change: tuple[str, str], said: str, tmp_path: Path, stampbench: Command
) -> None:
    path = write(tmp_path, SUITE.replace(*change, 1))
    code, _, err = stampbench("suite", "run", path, "--dry-run")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert said in err


def test_a_key_of_runs_is_told_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, SUITE + "runs:\n  - seeds: [1]\n  - seed: [1]\n")
    with pytest.raises(UserError, match=r"mine.yaml:12: unknown key 'runs.1.seed'; did you mean 'seeds'\?"):
        load_suite(str(path))


@pytest.mark.parametrize("text", ["", "- a\n", "strategies: [standard]\n", "datasets: [phantom2d]\n"])
def test_what_is_no_suite_is_told(text: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mine.yaml: (not a mapping|names no strategy)"):
        load_suite(str(write(tmp_path, text)))


def test_unknown_suites_are_told(stampbench: Command) -> None:
    assert "unknown suite 'low_dta'; did you mean 'low_data'?" in stampbench("suite", "show", "low_dta")[2]
    assert "no-such.yaml: No such file" in stampbench("suite", "run", "no-such.yaml")[2]


@pytest.mark.parametrize("name", suite_names())
def test_the_papers_suites_say_what_they_reproduce(name: str, stampbench: Command) -> None:
    suite = load_suite(name).suite
    assert "et al." in suite.source or "Hassler" in suite.source
    assert suite.summary
    assert suite.paper
    assert suite.quick
    for block in suite.blocks():
        assert all(dataset.name in CATALOGUE for dataset in block.datasets)
    code, out, _ = stampbench("suite", "show", name)
    assert (code, suite.summary in out) == (0, True)


@pytest.mark.parametrize("name", suite_names())
def test_the_quick_variants_unfold_on_real_data(name: str, real_data: Path) -> None:
    tasks = expand(name, real_data, quick=True)
    assert 1 < len(tasks) <= 30
    assert {task.job.dataset.name for task in tasks} <= {"hippocampus", "phantom2d", "acdc", "dsb2018"}


def test_the_whole_suites_unfold_on_miniatures_of_their_size(tmp_path: Path, stampbench: Command) -> None:
    """Without the data every run of theirs is left out, and said so."""
    code, _, err = stampbench("suite", "run", "low_data", "--dry-run", "--skip-absent", "--data-root", tmp_path)
    assert code == 2
    assert "warning: skipped: dataset 'harp': folder" in err
    assert "suite 'low_data' has no runs" in err
    code, _, err = stampbench("suite", "run", "low_data", "--dry-run", "--data-root", tmp_path)
    assert code == 2
    assert "low_data.yaml:8: dataset 'harp': folder" in err


def test_a_dry_run_tells_what_is_finished_and_missing_and_estimates(tmp_path: Path, stampbench: Command) -> None:
    path = write(tmp_path, SUITE.replace("seeds: [0, 3]", "seeds: [0]"))
    code, out, _ = stampbench("suite", "run", path, "--dry-run")
    assert code == 0
    assert out.splitlines()[0] == "12 runs: 0 finished, 12 to do, 0 failed"
    assert "at most 24 epochs; no estimate of the time: no comparable finished run" in out
    assert stampbench("suite", "run", path, "--only", "n=6 fold 0", "--threads", "1")[0] == 0
    code, out, _ = stampbench("suite", "run", path, "--dry-run")
    assert out.splitlines()[0] == "12 runs: 3 finished, 9 to do, 0 failed"
    assert "hours with 1 at a time" in out
    assert len(RunStore(tmp_path / "runs").statuses()) == 3
    assert "has no runs with n=99" in stampbench("suite", "run", path, "--only", "n=99")[2]


def test_failed_runs_are_listed_and_tried_again_only_when_asked(tmp_path: Path, stampbench: Command) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from pathlib import Path\n"
        "from stampbench.strategies.standard import Standard\n"
        "class Picky(Standard):\n"
        "    '''Fails until a file is there.'''\n"
        "    def fit(self, trainer):\n"
        f"        if type(trainer).__name__ == 'RunTrainer' and not Path({str(tmp_path / 'go')!r}).exists():\n"
        "            raise RuntimeError('not yet')\n"
        "        trainer.train(1)\n"
        "        trainer.checkpoint()\n"
    )
    text = SUITE.replace("name: flat, set: {depth: 1}, grid: {f: [1, 2]}", "name: picky, set: {depth: 1}")
    path = write(tmp_path, text.replace("[6, 8]", "[6]").replace("[0, 3]", "[0]"))
    run = ("suite", "run", path, "--plugin", plugin, "--threads", "1")
    code, out, err = stampbench(*run)
    assert code == 1
    assert err.count("failed: RuntimeError: not yet") == 2
    assert "2 of 4 runs failed; --retry-failed runs them again" in err
    code, out, err = stampbench(*run)
    assert (code, out.splitlines()[0]) == (1, "4 runs: 2 finished, 0 to do, 2 failed")
    assert "failed before (RuntimeError: not yet)" in err
    (tmp_path / "go").touch()
    assert stampbench(*run, "--retry-failed")[0] == 0
    assert stampbench(*run)[1].splitlines()[0] == "4 runs: 4 finished, 0 to do, 0 failed"
