"""Somebody's records, looked through before their rows are taken into a published leaderboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stampbench.benchmark.cost import count
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.gallery import Gallery
from stampbench.benchmark.records import Records
from stampbench.benchmark.spec import RunSpec
from stampbench.benchmark.store import RECORD, RunStore, read_record
from stampbench.benchmark.upkeep import look_through
from stampbench.models.errors import ModelError
from stampbench.models.files import load_model

_WHOLE = 1e-6
"""How far from a whole number the overlap may be that a Dice score implies, relative to the voxels."""
_SAME = 1e-6


class Checked(NamedTuple):
    """How many runs were looked at, how many cases were segmented again, and what is wrong."""

    runs: int
    rescored: int
    problems: list[str]
    notes: list[str]


def check_submission(
    root: Path,
    published: Records | None,
    data_root: Path | None = None,
    *,
    rescore: int = 3,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Checked:
    """Look through the store at `root`, against the tables that it is to join, if there are any.

    Every file's checksum, the spec's id, that summary and tables agree, that each Dice score can come from the voxel
    counts beside it, parameters and MACs recounted from the architecture, protocol, data, and that no fold is missing.
    Where the data is here, `rescore` cases of each run (those with the best Dice) are segmented again by its network.
    """
    store = RunStore(root)
    problems, notes, rescored = [], [], 0
    specs: dict[str, RunSpec] = {}
    gallery = Gallery(store, data_root)
    findings = list(look_through(store))
    for number, finding in enumerate(findings, start=1):
        report(number, len(findings))
        if finding.state != "finished":
            problems.append(f"{finding.folder}: {finding.state}: {finding.text}")
            continue
        record = read_record(finding.folder / RECORD)
        assert record is not None  # it was just read
        spec = RunSpec.model_validate(record["spec"])
        specs[spec.id] = spec
        problems += [f"{finding.folder}: {text}" for text in _contradictions(finding.folder, record, spec, published)]
        try:
            found = list(_scored_otherwise(gallery, finding.folder, record, rescore))
        except (UserError, ModelError) as error:
            notes.append(f"run {spec.id} was not segmented again: {error}")
            continue
        rescored += min(rescore, _cases(finding.folder)["case"].nunique())
        problems += [f"{finding.folder}: {text}" for text in found]
    if not findings:
        problems.append(f"{root}: no runs")
    problems += _missing(specs, published)
    return Checked(len(specs), rescored, problems, sorted(set(notes)))


def _contradictions(folder: Path, record: dict[str, Any], spec: RunSpec, published: Records | None) -> Iterator[str]:
    summary, cases = record["summary"], _cases(folder)
    for name in ("dice", "hd95", "msd"):
        mean, told = float(cases[name].mean()), float(summary[f"test_{name}"])
        if not np.isclose(mean, told, rtol=_SAME, atol=_SAME):
            yield f"its summary says test {name} {told:.4f}, its cases {mean:.4f}"
    both = cases["predicted_voxels"] + cases["reference_voxels"]
    overlap = cases["dice"] * both / 2
    possible = (np.abs(overlap - overlap.round()) <= _WHOLE * both.clip(lower=1)) & (
        overlap <= cases[["predicted_voxels", "reference_voxels"]].min(axis=1) + 0.5
    )
    for row in cases[~possible & (both > 0)].head(1).to_dict("records"):
        yield (
            f"case {row['case']}, {row['class']}: Dice {row['dice']:.4f} cannot come from "
            f"{row['predicted_voxels']:.0f} predicted and {row['reference_voxels']:.0f} labelled voxels"
        )
    cost = count(load_model(folder / "model").architecture, spec.dataset.seen)
    for name in ("parameters", "macs", "flops"):
        if getattr(cost, name) != summary[name]:
            yield f"its architecture has {getattr(cost, name):,} {name}, its summary says {summary[name]:,}"
    trajectory = pd.read_csv(folder / "trajectory.csv")
    chosen = trajectory[trajectory["step"] == summary["selected_step"]]
    if chosen.empty or chosen["parameters"].iloc[0] != summary["parameters"]:
        yield f"its trajectory has no step {summary['selected_step']} with {summary['parameters']:,} parameters"
    yield from _elsewhere(spec, cases, published)


def _elsewhere(spec: RunSpec, cases: pd.DataFrame, published: Records | None) -> Iterator[str]:
    """What differs from the tables that the run is to join."""
    if published is None:
        return
    protocols = sorted(set(published.runs["protocol"]))
    if spec.protocol_label not in protocols:
        yield f"protocol '{spec.protocol_label}' is not one of the leaderboard's: {', '.join(protocols)}"
    known = published.runs[published.runs["dataset"] == spec.dataset.name]
    if known.empty:
        yield f"dataset '{spec.dataset.name}' is not one of the leaderboard's: {_listed(published.runs['dataset'])}"
    elif spec.dataset.checksum not in set(known["data_checksum"]):
        yield (
            f"its data has the checksum {spec.dataset.checksum[:8]}, the leaderboard's {spec.dataset.name} "
            f"{_listed(known['data_checksum'].str[:8])}"
        )
    else:
        same = known.loc[known["data_checksum"] == spec.dataset.checksum, "run"]
        theirs = set(published.cases.loc[published.cases["run"].isin(same), "case"])
        if set(cases["case"]) != theirs:
            yield f"it was tested on {cases['case'].nunique()} cases, the leaderboard's runs on {len(theirs)} or others"


def _scored_otherwise(gallery: Gallery, folder: Path, record: dict[str, Any], number: int) -> Iterator[str]:
    """Cases whose recorded Dice is not what the recorded network reaches.

    Raises:
        UserError, ModelError: the data is not here.
    """
    cases = _cases(folder)
    best = cases.groupby("case")["dice"].mean().sort_values(ascending=False, kind="stable").index[:number]
    again = gallery.score(str(folder), list(best))
    for row in cases[cases["case"].isin(best)].to_dict("records"):
        now = again[row["case"], row["class"]]
        # Other machines round otherwise, which moves a voxel here and there.
        if abs(now - row["dice"]) > 0.005:
            yield (
                f"case {row['case']}, {row['class']}: recorded Dice {row['dice']:.4f}, "
                f"but its network reaches {now:.4f}"
            )


def _missing(specs: dict[str, RunSpec], published: Records | None) -> Iterator[str]:
    """Strategies that lack folds, and runs whose sources are nowhere."""
    designs: dict[tuple[str, str, int], set[int]] = {}
    named: dict[tuple[str, str, int], RunSpec] = {}
    for spec in specs.values():
        hyperparameters = ", ".join(f"{key}={value}" for key, value in sorted(spec.hyperparameters.items()))
        key = (spec.group, f"{spec.strategy} ({hyperparameters})", spec.seed)
        designs.setdefault(key, set()).add(spec.fold)
        named[key] = spec
    for (group, _, seed), folds in designs.items():
        spec = named[group, _, seed]
        wanted = set(range(spec.protocol.folds))
        if published is not None and group in set(published.runs["group"]):
            wanted = set(published.runs.loc[published.runs["group"] == group, "fold"])
        if absent := sorted(wanted - folds):
            yield (
                f"{spec.strategy} on {spec.dataset.name}, {spec.n_train} images, seed {seed}: "
                f"fold {', '.join(map(str, absent))} is missing"
            )
    everywhere = set(specs) | (set() if published is None else set(published.runs["run"]))
    for spec in specs.values():
        for name, source in spec.sources.items():
            if source not in everywhere:
                yield f"run {spec.id} of {spec.strategy}: its source '{name}', run {source}, is not there"


def _cases(folder: Path) -> pd.DataFrame:
    text = {"case": str, "subject": str, "class": str}
    return pd.read_csv(folder / "cases.csv", dtype=text, keep_default_na=False)


def _listed(values: pd.Series[Any]) -> str:
    return ", ".join(sorted(set(values)))
