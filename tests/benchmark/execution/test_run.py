"""Planning of runs and their parent runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Draw, Run, plan_run

MakeRun = Callable[..., Run]


def test_step_that_the_parent_run_does_not_have_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(ValueError, match=r"step=99: the parent run of random_largest has only steps 0 to \d+"):
        make_run("retrain_scratch", step="99", source="random_largest")


def test_unknown_and_circular_parent_runs_are_refused(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="unknown strategy 'stamp_pluss'; did you mean 'stamp_plus'"):
        make_run("retrain_scratch", source="stamp_pluss")
    with pytest.raises(UserError, match="unknown hyperparameter of stamp 'ff'"):
        make_run("retrain_scratch", source="stamp", source_settings='{"ff": 2}')
    with pytest.raises(UserError, match="must be a JSON object"):
        make_run("retrain_scratch", source_settings="f=2")
    with pytest.raises(UserError, match="builds on itself: retrain_scratch → retrain_scratch"):
        make_run("retrain_scratch", source="retrain_scratch")


def test_parent_run_with_a_fixed_seed_is_shared_by_several_seeds(make_run: MakeRun) -> None:
    fixed = make_run("retrain_scratch", source_seed=7)
    fixed_seed_1, seed_1 = (
        plan_run(each.resolved, each.dataset, each.spec.protocol, Draw(None, fold=0, seed=1))
        for each in (fixed, make_run("retrain_scratch"))
    )
    assert fixed.spec.id != fixed_seed_1.spec.id
    assert fixed.parents["shapes"].spec.id == fixed_seed_1.parents["shapes"].spec.id
    assert fixed_seed_1.parents["shapes"].spec.seed == 7
    assert seed_1.parents["shapes"].spec.seed == 1


def test_network_that_is_too_deep_for_the_images_is_refused(make_run: MakeRun) -> None:
    with pytest.raises(UserError, match="depth 5 needs sizes that are multiples of 32, but phantom2d has 16"):
        make_run("standard", depth=5)


def test_batch_of_one_image_with_a_bottleneck_of_one_voxel_is_refused(make_run: MakeRun) -> None:
    """BatchNorm would have one value per channel; the last batch of 5 training images in batches of 2 has one image."""
    with pytest.raises(UserError, match=r"leave a batch with a single one.*batch_size"):
        make_run("standard", "phantom2d:size=16,cases=13", depth=4)


def test_cross_validation_is_a_protocol_of_its_own_in_which_every_case_is_tested_once(make_run: MakeRun) -> None:
    held_out = make_run("standard")
    assert "split" not in held_out.spec.stored()["protocol"]  # ids of older runs hold
    settings = ("max_epochs=3", "split=cross_validation")
    first = make_run("standard", protocol_settings=settings)
    second = plan_run(first.resolved, first.dataset, first.spec.protocol, Draw(None, fold=1, seed=0))
    assert first.spec.group == second.spec.group != held_out.spec.group
    assert first.spec.protocol_label.endswith("split=cross_validation)")
    assert sorted([*first.split.test, *second.split.test]) == sorted(case.id for case in first.dataset.reader.cases)
