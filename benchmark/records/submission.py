"""Somebody's records, looked through before their rows are taken into a published leaderboard."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategy
from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.complexity import count
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RECORD, RunStore, read_record
from stampbench.benchmark.records.tables import TIMINGS, Records
from stampbench.benchmark.records.verify import verify_store
from stampbench.models.errors import ModelError
from stampbench.models.network import parameter_count
from stampbench.models.serialization import load_model
from stampbench.strategies.errors import StrategyError

_WHOLE = 1e-6
"""How far from a whole number the overlap may be that a Dice score implies, relative to the voxels."""
_SAME = 1e-6
_ROUNDING = {"dice": 0.005, "hd95": 1.0, "msd": 0.2}
"""What other machines' rounding may change in a score: a voxel here and there."""


class SubmissionReport(NamedTuple):
    """How many runs were looked at, how many cases were segmented again, what is wrong, and what was not looked at."""

    runs: int
    rescored: int
    problems: list[str]
    notes: list[str]


def check_submission(
    root: Path,
    published: Records | None,
    data_root: Path | None = None,
    *,
    rescore: int | None = 3,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> SubmissionReport:
    """Look through the store at `root`, against the tables that it is to join, if there are any.

    Every file's checksum, the spec's id, labels and strategy, that summary and tables agree, that every case and class
    is there once, that each Dice score can come from the voxel counts beside it, parameters and MACs recounted from
    the architecture, protocol, data and reference masks, and that no fold is missing. Where the data is here,
    `rescore` cases of each run, drawn at random, are segmented again by its network; None: all of them.
    """
    store = RunStore(root)
    problems, notes, rescored = [], [], 0
    specs: dict[str, RunSpec] = {}
    gallery = Reinference(store, data_root)
    findings = list(verify_store(store))
    for number, finding in enumerate(findings, start=1):
        report(number, len(findings))
        if finding.state != "finished":
            problems.append(f"{finding.folder}: {finding.state}: {finding.text}")
            continue
        try:
            record = read_record(finding.folder / RECORD) or {}
            spec = RunSpec.model_validate(record["spec"])
            specs[spec.id] = spec
            found = [
                *_contradictions(finding.folder, record, spec),
                *_elsewhere(finding.folder, record, spec, published),
            ]
            try:
                again = _chosen(finding.folder, rescore)
                found += _scored_otherwise(gallery, finding.folder, again)
                rescored += len(again)
            except (UserError, ModelError) as error:
                notes.append(f"run {spec.id} was not segmented again: {error}")
            problems += [f"{finding.folder}: {text}" for text in found]
        except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:  # whatever somebody may send
            problems.append(f"{finding.folder}: is no whole record ({type(error).__name__}: {error})")
    if not findings:
        problems.append(f"{root}: no runs")
    if (root / TIMINGS).exists():
        problems.append(f"{root / TIMINGS}: timings cannot be checked; whoever publishes measures them")
    problems += _missing(specs, published)
    return SubmissionReport(len(specs), rescored, problems, sorted(set(notes)))


def _contradictions(folder: Path, record: dict[str, Any], spec: RunSpec) -> Iterator[str]:
    """What is wrong with a record by itself."""
    summary, cases = record["summary"], _cases(folder)
    yield from _of_spec(folder, record, spec)
    classes = record["dataset"]["classes"][1:]
    wanted = pd.MultiIndex.from_product([cases["case"].unique(), classes])
    if sorted(wanted) != sorted(zip(cases["case"], cases["class"], strict=True)):
        yield f"its cases.csv has not each of {len(wanted.levels[0])} cases once for every class: {', '.join(classes)}"
    for name in ("dice", "hd95", "msd"):
        mean, told = float(cases[name].mean(skipna=False)), float(summary[f"test_{name}"])
        if not np.isclose(mean, told, rtol=_SAME, atol=_SAME):
            yield f"its summary says test {name} {told:.4f}, its cases {mean:.4f}"
    yield from _impossible(cases)
    cost = count(load_model(folder / "model").architecture, spec.dataset.seen)
    for name in ("parameters", "macs", "flops"):
        if getattr(cost, name) != summary[name]:
            yield f"its architecture has {getattr(cost, name):,} {name}, its summary says {summary[name]:,}"
    trajectory = pd.read_csv(folder / "trajectory.csv")
    chosen = trajectory[trajectory["step"] == summary["selected_step"]]
    if chosen.empty or chosen["parameters"].iloc[0] != summary["parameters"]:
        yield f"its trajectory has no step {summary['selected_step']} with {summary['parameters']:,} parameters"
    for name, column in (("epochs", "epoch"), ("ranking_passes", "ranking_passes")):
        if summary[name] < trajectory[column].max():
            yield f"its summary says {summary[name]} {name}, its trajectory {trajectory[column].max()}"


def _of_spec(folder: Path, record: dict[str, Any], spec: RunSpec) -> Iterator[str]:
    """What does not follow from the spec, or is no spec that a run can have."""
    if (spec.dataset.name, spec.strategy) != (folder.parent.parent.name, folder.parent.name):
        yield f"it is a run of {spec.strategy} on {spec.dataset.name}, and lies elsewhere"
    if not 0 <= spec.fold < spec.protocol.folds or spec.seed < 0:
        yield f"fold {spec.fold} or seed {spec.seed} does not exist"
    if not {"environment", "provenance"} <= set(record):
        yield "it does not say where it comes from"
    if record["protocol_label"] != spec.protocol_label:
        yield f"its protocol is called '{record['protocol_label']}', and is {spec.protocol_label}"
    try:
        protocol = resolve_protocol(spec.protocol.name, [])
        choice = resolve_strategy(spec.strategy, protocol, spec.hyperparameters)
        if record["label"] != (label := spec.label(choice.defaults)):
            yield f"its strategy is called '{record['label']}', and is {label}"
        if not spec.parents:
            start = parameter_count(
                choice.strategy.start(
                    spec.dataset.spatial_dims, len(record["dataset"]["channels"]), len(record["dataset"]["classes"])
                )
            )
            first = int(pd.read_csv(folder / "trajectory.csv")["parameters"].iloc[0])
            if first != start:
                yield f"{spec.strategy} starts with {start:,} parameters, its trajectory with {first:,}"
    except (UserError, StrategyError) as error:
        yield f"its strategy cannot be checked: {error}"


def _impossible(cases: pd.DataFrame) -> Iterator[str]:
    """A Dice score that the voxel counts beside it cannot give."""
    both = cases["predicted_voxels"] + cases["reference_voxels"]
    overlap = cases["dice"] * both / 2
    least = cases[["predicted_voxels", "reference_voxels"]].min(axis=1)
    whole = ((overlap - overlap.round()).abs() <= _WHOLE * both) & (overlap <= least + _WHOLE * both)
    possible = whole.where(both > 0, cases["dice"] == 1)
    for row in cases[~possible].head(1).to_dict("records"):
        yield (
            f"case {row['case']}, {row['class']}: Dice {row['dice']:.4f} cannot come from "
            f"{row['predicted_voxels']:.0f} predicted and {row['reference_voxels']:.0f} labelled voxels"
        )


def _elsewhere(folder: Path, record: dict[str, Any], spec: RunSpec, published: Records | None) -> Iterator[str]:
    """What differs from the tables that the run is to join."""
    if published is None:
        return
    protocols = sorted(set(published.runs["protocol"]))
    if spec.protocol_label not in protocols:
        yield f"protocol '{spec.protocol_label}' is not one of the leaderboard's: {', '.join(protocols)}"
    known = published.runs[published.runs["dataset"] == spec.dataset.name]
    if known.empty:
        yield f"dataset '{spec.dataset.name}' is not one of the leaderboard's: {_listed(published.runs['dataset'])}"
        return
    known = known[known["data_checksum"] == spec.dataset.checksum]
    if known.empty:
        theirs = published.runs.loc[published.runs["dataset"] == spec.dataset.name, "data_checksum"].str[:8]
        yield (
            f"its data has the checksum {spec.dataset.checksum[:8]}, the leaderboard's {spec.dataset.name} "
            f"{_listed(theirs)}"
        )
        return
    for name in ("unit", "synthetic"):
        if record["dataset"][name] != known[name].iloc[0]:
            yield f"its {name} is {record['dataset'][name]}, the leaderboard's {known[name].iloc[0]}"
    keys = ["case", "class", "subject", "reference_voxels"]
    mine = set(_cases(folder)[keys].itertuples(index=False, name=None))
    one = published.cases[published.cases["run"] == known["run"].iloc[0]]
    if mine != set(one[keys].itertuples(index=False, name=None)):
        yield "its test cases, their classes, subjects or labelled voxels are not those of the leaderboard's runs"


def _chosen(folder: Path, number: int | None) -> list[str]:
    """Test cases of a run, drawn so that nobody knows which."""
    cases = sorted(_cases(folder)["case"].unique())
    return cases if number is None else random.SystemRandom().sample(cases, min(number, len(cases)))


def _scored_otherwise(gallery: Reinference, folder: Path, chosen: list[str]) -> list[str]:
    """Cases whose recorded scores are not what the recorded network reaches.

    Raises:
        UserError, ModelError: the data is not here.
    """
    if not chosen:
        return []
    again = {(row["case"], row["class"]): row for row in gallery.score(str(folder), chosen)}
    found, cases = [], _cases(folder)
    for row in cases[cases["case"].isin(chosen)].to_dict("records"):
        now = again[row["case"], row["class"]]
        for name, tolerance in _ROUNDING.items():
            if abs(now[name] - row[name]) > tolerance:
                found.append(
                    f"case {row['case']}, {row['class']}: recorded {name} {row[name]:.4f}, "
                    f"but its network reaches {now[name]:.4f}"
                )
    return found


def _missing(specs: dict[str, RunSpec], published: Records | None) -> Iterator[str]:
    """Strategies that lack folds, and runs whose sources are nowhere."""
    folds: dict[tuple[str, str], set[int]] = {}
    named: dict[tuple[str, str], RunSpec] = {}
    for spec in specs.values():
        key = (spec.group, f"{spec.strategy} {sorted(spec.hyperparameters.items())}")
        folds.setdefault(key, set()).add(spec.fold)
        named[key] = spec
    for key, found in folds.items():
        spec = named[key]
        wanted = set(range(spec.protocol.folds))
        if published is not None and spec.group in set(published.runs["group"]):
            wanted = set(published.runs.loc[published.runs["group"] == spec.group, "fold"])
        if absent := sorted(wanted - found):
            yield (
                f"{spec.strategy} on {spec.dataset.name}, {spec.n_train} images: "
                f"fold {', '.join(map(str, absent))} is missing"
            )
    everywhere = set(specs) | (set() if published is None else set(published.runs["run"]))
    for spec in specs.values():
        for name, source in spec.parents.items():
            if source not in everywhere:
                yield f"run {spec.id} of {spec.strategy}: its source '{name}', run {source}, is not there"


def _cases(folder: Path) -> pd.DataFrame:
    text = {"case": str, "subject": str, "class": str, "empty": str}
    return pd.read_csv(folder / "cases.csv", dtype=text, keep_default_na=False)


def _listed(values: pd.Series[Any]) -> str:
    return ", ".join(sorted(set(values)))
