"""Tests of the order of trainer calls in STAMP and its variants."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from stampbench.benchmark.config.protocol import PAPER
from stampbench.benchmark.execution.dry_run import DryRunTrainer
from stampbench.models.model import parameter_count
from stampbench.strategies.base import ParentCheckpoint, ParentRun
from stampbench.strategies.dropout import mean_dropout
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.registry import STRATEGIES


class Recorder(DryRunTrainer):
    """A dry-run trainer that records every call."""

    def __init__(self, strategy: Any, parents: Any = None) -> None:
        super().__init__(strategy.start(2, 1, 2), PAPER, parents)
        self.calls: list[tuple[str, Any]] = []

    def train(self, epochs: int, *, gather: bool = False) -> None:
        super().train(epochs, gather=gather)
        self.calls.append(("train, gather" if gather else "train", epochs))

    def score(self, importance: str) -> Any:
        self.calls.append(("score", importance))
        return super().score(importance)

    def prune(self, filters: Any, optimiser: Any = "new") -> None:
        self.calls.append(("prune", len(list(filters))))
        super().prune(filters, optimiser)

    def set_dropout(self, probabilities: Any) -> None:
        super().set_dropout(probabilities)
        self.calls.append(("dropout", dict(probabilities)))

    def checkpoint(self, *, candidate: bool = True) -> None:
        super().checkpoint(candidate=candidate)
        self.calls.append(("checkpoint" if candidate else "no candidate", None))


def follow(name: str, **settings: Any) -> Recorder:
    """Run a strategy to its end on a dry-run trainer."""
    entry = STRATEGIES[name]
    strategy = entry.load()(**{**entry.preset, **settings})
    recorder = Recorder(strategy)
    strategy.fit(recorder)
    return recorder


def test_stamp_removes_one_filter_every_five_epochs_until_each_layer_has_one() -> None:
    recorder = follow("stamp")
    one_step = [("score", "l2"), ("prune", 1), ("train", 5), ("checkpoint", None)]
    assert recorder.calls == [("train", 1), ("checkpoint", None), *one_step * 347]
    assert set(recorder.architecture.layers.values()) == {1}
    assert (recorder.epochs, recorder.ranking_passes) == (1_736, 347)


def test_stamp_plus_starts_with_dropout_of_0_005_and_then_uses_targeted_dropout() -> None:
    calls = follow("stamp_plus", f=2, depth=1).calls
    assert calls[0] == ("dropout", pytest.approx(dict.fromkeys([f"conv{n}" for n in range(1, 6)], 0.005)))
    assert [call for call, _ in calls[1:8]] == [
        "train", "checkpoint", "score", "prune", "dropout", "train", "checkpoint",
    ]  # fmt: skip
    assert max(calls[5][1].values()) == pytest.approx(0.1)
    assert len(set(calls[5][1].values())) > 1


def test_hyperparameters_change_the_schedule() -> None:
    recorder = follow("stamp_plus", f=4, depth=1, filters_per_step=3, recovery_epochs=2, min_filters=2, recompute=True)
    assert set(recorder.architecture.layers.values()) == {2}
    pruned = [count for call, count in recorder.calls if call == "prune"]
    assert sum(pruned) == 2 + 2 + 6 + 6 + 2
    assert set(pruned[:-1]) == {3}
    assert [call for call, _ in recorder.calls[3:8]] == ["score", "prune", "score", "dropout", "train"]


def test_select_parameters_limits_the_candidates() -> None:
    sizes = [parameter_count(each.architecture) for each in follow("stamp", f=2, depth=1).checkpoints]
    limited = follow("stamp", f=2, depth=1, select_parameters=sizes[2])
    made = [call for call, _ in limited.calls if call in ("checkpoint", "no candidate")]
    assert made == ["no candidate"] * 2 + ["checkpoint"] * (len(sizes) - 2)


def test_gathered_norms_come_from_the_last_epoch_without_a_ranking_pass() -> None:
    recorder = follow("stamp", f=2, depth=1, importance="l2_gathered", filters_per_step=100)
    assert recorder.calls == [
        ("train, gather", 1), ("checkpoint", None),
        ("score", "l2_gathered"), ("prune", 9), ("train, gather", 5), ("checkpoint", None),
    ]  # fmt: skip
    assert recorder.ranking_passes == 0


@pytest.mark.parametrize(
    "setting", [{"pretrained": True}, {"recovery": "convergence"}, {"recompute": True}, {"prune_upconvs": True}]
)
def test_gathered_norms_are_refused_for_settings_that_cannot_gather_them(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(setting))):
        follow("stamp", importance="l2_gathered", **setting)


def test_gathered_norms_are_refused_for_strategies_that_do_not_gather() -> None:
    with pytest.raises(ValidationError, match="l2_gathered"):
        follow("standard_plus", importance="l2_gathered")
    recorder = follow("stamp", f=2, depth=1)
    with pytest.raises(StrategyError, match="l2_gathered"):
        recorder.score("l2_gathered")


def test_dropout_ranks_remaining_leaves_out_what_was_removed() -> None:
    """In a dry run all scores are equal, so a filter of a narrow layer has the larger magnitude.

    The five layers have 2, 2, 4, 4, 2 filters, so that their mean positions are 1.5, 3.5, 8.5, 12.5, 5.5. A filter of
    conv3 is removed; without it they are 1.5, 3.5, 8, 11.5, 5.5.
    """
    for ranks, means in (("before_prune", (1.5, 3.5, 8.5, 12.5, 5.5)), ("remaining", (1.5, 3.5, 8, 11.5, 5.5))):
        found = follow("stamp_plus", f=2, depth=1, dropout_ranks=ranks).calls[5][1]
        assert list(found.values()) == pytest.approx([0.1 * mean / max(means) for mean in means])


def test_dropout_ranks_and_recompute_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="dropout_ranks=remaining cannot be combined with recompute"):
        follow("stamp_plus", dropout_ranks="remaining", recompute=True)


@pytest.mark.parametrize(("name", "value"), [("dropout_ranks", "remaining"), ("cost", "flops"), ("width_multiple", 8)])
def test_younger_defaults_are_not_stored_so_that_ids_of_older_runs_hold(name: str, value: Any) -> None:
    strategy = STRATEGIES["stamp_plus"].load()
    assert name not in strategy().model_dump()
    assert strategy(**{name: value}).model_dump()[name] == value


def test_with_a_cost_the_least_important_filter_per_saving_is_removed() -> None:
    """All filters of a dry run score the same within a layer; norms make those of wide layers the least important."""
    removed: list[str] = []

    class Costly(Recorder):
        def prune(self, filters: Any, optimiser: Any = "new") -> None:
            filters = list(filters)
            removed.extend(each.layer for each in filters)
            super().prune(filters, optimiser)

        def savings(self, cost: str) -> dict[str, float]:
            self.calls.append(("savings", cost))
            return {layer: 100.0 if layer == "conv1" else 1.0 for layer in self.architecture.layers}

    entry = STRATEGIES["stamp"]
    strategy = entry.load()(**{**entry.preset, "f": 2, "depth": 1, "cost": "latency"})
    recorder = Costly(strategy)
    strategy.fit(recorder)
    assert recorder.calls[2:5] == [("score", "l2"), ("savings", "latency"), ("prune", 1)]
    assert removed[0] == "conv1"
    assert removed[1] == "conv3"  # the widest, which is the first one without a cost
    assert set(recorder.architecture.layers.values()) == {1}


def test_with_a_width_multiple_pruning_ends_when_no_layer_can_reach_a_smaller_one() -> None:
    recorder = follow("stamp", f=4, depth=1, width_multiple=4, filters_per_step=1)
    assert set(recorder.architecture.layers.values()) == {4}
    assert [count for call, count in recorder.calls if call == "prune"] == [4, 4]


def test_a_width_multiple_that_no_layer_reaches_is_refused() -> None:
    with pytest.raises(StrategyError, match="width_multiple=64: no layer is wide enough to lose filters"):
        follow("stamp", f=2, depth=1, width_multiple=64)


@pytest.mark.parametrize("setting", [{"cost": "latency"}, {"width_multiple": 8}])
def test_cost_and_width_multiple_belong_to_the_selection_by_importance(setting: dict[str, Any]) -> None:
    (name,) = setting
    with pytest.raises(ValidationError, match=f"{name} belongs to selection=lowest, not to selection=random_largest"):
        follow("random_largest", **setting)


@pytest.mark.parametrize("name", ["stamp_d", "standard_d"])
def test_matched_dropout_is_the_mean_of_a_stamp_plus_run_over_its_epochs(name: str) -> None:
    entry = STRATEGIES[name]
    strategy = entry.load()(**{**entry.preset, "f": 2, "depth": 1, "dropout": "matched"})
    ((key, parent),) = strategy.parents().items()
    assert (parent.strategy, parent.hyperparameters["f"], parent.hyperparameters["depth"]) == ("stamp_plus", 2, 1)
    assert "dropout" not in parent.hyperparameters
    stamp_plus = follow("stamp_plus", f=2, depth=1)
    recorder = Recorder(strategy, {key: stamp_plus})
    strategy.fit(recorder)
    # One epoch at 0.005, then five epochs after each of nine prunes.
    targeted = [sum(each.values()) / 5 for call, each in stamp_plus.calls if call == "dropout"]
    assert len(targeted) == 10
    expected = (targeted[0] + 5 * sum(targeted[1:])) / 46
    assert recorder.calls[0] == ("dropout", pytest.approx(dict.fromkeys([f"conv{n}" for n in range(1, 6)], expected)))


def test_matched_dropout_needs_a_parent_that_recorded_dropout() -> None:
    architecture = Recorder(STRATEGIES["stamp"].load()(f=2, depth=1)).architecture
    old = ParentRun((ParentCheckpoint(0, 1, architecture),), 0)
    with pytest.raises(StrategyError, match="older than the column 'dropout'"):
        mean_dropout(old)


@pytest.mark.parametrize(
    "name", ["prune_finetune", "stamp_d", "standard_d", "distill", "swift", "retrain_scratch", "quantised"]
)
def test_parent_runs_have_the_learning_rate_of_the_run_that_builds_on_them(name: str) -> None:
    entry = STRATEGIES[name]
    settings = {**entry.preset, "dropout": "matched"} if name.endswith("_d") else dict(entry.preset)
    settings |= {"weight": 0.5} if name == "swift" else {}
    for rate in (None, 0.002):
        strategy = entry.load()(**settings, learning_rate=rate)
        assert strategy.model_dump().get("learning_rate") == rate
        found = {parent.hyperparameters.get("learning_rate") for parent in strategy.parents().values()}
        assert found == {rate}
