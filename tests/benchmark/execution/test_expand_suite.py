"""Expansion of suites into runs and their parent runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.config.suite_file import load_suite, suite_names
from stampbench.benchmark.execution.expand_suite import expand_suite
from stampbench.benchmark.execution.job import Task
from stampbench.datasets.dataset import Dataset


@functools.cache
def opened(request: DatasetRequest, data_root: Path | None) -> Dataset:
    """Open a dataset; the built-in suites name the same few again and again."""
    return request.open(data_root)


def tasks_of(suite: Path | str, data_root: Path | None = None, **options: bool) -> list[Task]:
    return expand_suite(load_suite(str(suite), **options), lambda request: opened(request, data_root))


def titles(suite: Path | str) -> list[str]:
    return [task.job.title for task in tasks_of(suite)]


def test_grid_expands_into_every_combination(write_suite: Callable[..., Path]) -> None:
    found = titles(write_suite())
    assert len(found) == len(set(found)) == 3 * 2 * 2 * 2
    assert "phantom2d n=8 fold 1 seed 3 flat (f=1, depth=1)" in found


def test_jobs_plan_the_same_runs_also_after_json(write_suite: Callable[..., Path]) -> None:
    for task in tasks_of(write_suite()):
        assert task.job.plan(None).spec == task.run.spec
        assert type(task.job).model_validate_json(task.job.model_dump_json()) == task.job


def test_parent_runs_come_first_and_once(suite_text: str, write_suite: Callable[..., Path]) -> None:
    text = suite_text.replace(
        "  - {name: flat, set: {depth: 1}, grid: {f: [1, 2]}}",
        "  - {name: retrain_scratch, set: {f: 2, depth: 1, every_steps: 2}}\n"
        "  - {name: prune_finetune, set: {f: 2, depth: 1}}",
    )
    tasks = tasks_of(write_suite(text))
    ids = [task.job.id for task in tasks]
    assert len(ids) == len(set(ids)) == 8 * 4  # standard, retrain_scratch with its stamp_plus, prune_finetune
    for index, task in enumerate(tasks):
        assert {parent.spec.id for parent in task.run.parents.values()} <= set(ids[:index])
    # The parent run of prune_finetune is the standard run of the suite.
    standard = {task.job.id for task in tasks if task.job.strategy == "standard"}
    pruned = [task for task in tasks if task.job.strategy == "prune_finetune"]
    assert {parent.spec.id for task in pruned for parent in task.run.parents.values()} == standard


def test_training_sets_are_further_runs_with_other_training_images(
    suite_text: str, write_suite: Callable[..., Path]
) -> None:
    tasks = tasks_of(write_suite(suite_text + "training_sets: [0, 2]\n"))
    assert len({task.job.id for task in tasks}) == 2 * 24
    assert sum(" set 2 " in task.job.title for task in tasks) == 24
    for task in tasks:
        assert task.job.plan(None).spec == task.run.spec
    images = {
        task.run.spec.training_set: (*task.run.split.training, *task.run.split.validation)
        for task in tasks
        if task.run.spec.n_train == 6
    }
    assert set(images[0]) != set(images[2])


def test_explicit_runs_each_replace_keys_of_the_suite(suite_text: str, write_suite: Callable[..., Path]) -> None:
    found = titles(
        write_suite(suite_text + "runs:\n  - {n_train: 6, seeds: [1]}\n  - {strategies: [stamp], folds: 0}\n")
    )
    assert len(found) == 3 * 2 + 2 * 2
    assert {title.split(" seed ")[0] for title in found if "stamp" in title} == {
        "phantom2d n=6 fold 0",
        "phantom2d n=8 fold 0",
    }


@pytest.mark.parametrize("name", suite_names())
def test_quick_variants_of_built_in_suites_expand_on_real_data(name: str, real_data: Path) -> None:
    tasks = tasks_of(name, real_data, quick=True)
    assert 1 < len(tasks) <= 30
    assert {task.job.dataset.name for task in tasks} <= {"hippocampus", "phantom2d", "acdc", "dsb2018"}
