"""Checks of somebody's store before its runs join a published leaderboard."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.contradictions import find_contradictions, read_cases
from stampbench.benchmark.records.record_file import RECORD, read_record
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.records.tables import Records
from stampbench.benchmark.records.timings import FOLDER as TIMINGS
from stampbench.benchmark.records.verify import RecordStatus, verify_store
from stampbench.models.errors import ModelError

_ROUNDING = {"dice": 0.005, "hd95": 1.0, "msd": 0.2}
"""Differences of scores that rounding on another machine may cause, which changes single voxels."""


class SubmissionReport(NamedTuple):
    """Result of a check.

    Attributes:
        runs: number of runs that were checked.
        rescored: number of cases that were segmented again.
        problems: reasons to refuse the submission.
        notes: what could not be checked.
    """

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
    report: Callable[[int, int], None] = lambda done, total: None,
) -> SubmissionReport:
    """Check the store at `root`.

    Checked are: checksums of all files, the spec's id, labels and strategy, agreement of summary and tables, that
    every case and class is there once, that each Dice score is possible with the voxel counts beside it, parameters
    and MACs of the architecture, protocol, data and reference masks, and that no fold is missing. If the data is
    present, test cases of each run are segmented and scored again with its network.

    Args:
        root: the submitted store.
        published: the tables that the runs are to join; None: none.
        data_root: folder that holds the named datasets' folders.
        rescore: number of cases per run, drawn at random, to segment again; None: all.
        report: called with the number of checked runs and the number of all.
    """
    store = RunStore(root)
    problems: list[str] = []
    notes: list[str] = []
    rescored = 0
    specs: dict[str, RunSpec] = {}
    reinference = Reinference(store, data_root)
    statuses = list(verify_store(store))
    for number, status in enumerate(statuses, start=1):
        report(number, len(statuses))
        if status.state != "finished":
            problems.append(f"{status.folder}: {status.state}: {status.text}")
            continue
        try:
            record = read_record(status.folder / RECORD)
            specs[record.id] = record.spec
            found = [
                *find_contradictions(status.folder, record),
                *_differences(status.folder, record, published),
            ]
            try:
                chosen = _chosen(status.folder, rescore)
                found += _rescore(reinference, status.folder, chosen)
                rescored += len(chosen)
            except (UserError, ModelError) as error:
                notes.append(f"run {record.id} was not segmented again: {error}")
            problems += [f"{status.folder}: {text}" for text in found]
        except (KeyError, ValueError, TypeError, AttributeError, OSError) as error:  # a stranger's files
            problems.append(f"{status.folder}: incomplete record ({type(error).__name__}: {error})")
    problems += _of_the_store(root, statuses, specs, published)
    return SubmissionReport(len(specs), rescored, problems, sorted(set(notes)))


def _of_the_store(
    root: Path, statuses: list[RecordStatus], specs: dict[str, RunSpec], published: Records | None
) -> Iterator[str]:
    """Yield problems that do not belong to one run."""
    if not statuses:
        yield f"{root}: no runs"
    if (root / TIMINGS).exists():
        yield f"{root / TIMINGS}: timings cannot be checked; whoever publishes measures them"
    yield from _missing(specs, published)


def _differences(folder: Path, record: Record, published: Records | None) -> Iterator[str]:
    """Yield what differs from the tables that the run is to join."""
    if published is None:
        return
    spec, data = record.spec, record.dataset
    protocols = sorted(set(published.runs["protocol"]))
    if spec.protocol_label not in protocols:
        yield f"protocol '{spec.protocol_label}' is not one of the leaderboard's: {', '.join(protocols)}"
    same_name = published.runs[published.runs["dataset"] == spec.dataset.name]
    if same_name.empty:
        names = ", ".join(sorted(set(published.runs["dataset"])))
        yield f"dataset '{spec.dataset.name}' is not one of the leaderboard's: {names}"
        return
    known = same_name[same_name["data_checksum"] == spec.dataset.checksum]
    if known.empty:
        checksums = ", ".join(sorted(set(same_name["data_checksum"].str[:8])))
        yield (
            f"its data has the checksum {spec.dataset.checksum[:8]}, the leaderboard's {spec.dataset.name} {checksums}"
        )
        return
    for name, value in (("unit", data.unit), ("synthetic", data.synthetic)):
        if value != known[name].iloc[0]:
            yield f"its {name} is {value}, the leaderboard's {known[name].iloc[0]}"
    keys = ["case", "class", "subject", "reference_voxels"]
    own = set(read_cases(folder)[keys].itertuples(index=False, name=None))
    other = published.cases[published.cases["run"] == known["run"].iloc[0]]
    if own != set(other[keys].itertuples(index=False, name=None)):
        yield "its test cases, their classes, subjects or labelled voxels are not those of the leaderboard's runs"


def _chosen(folder: Path, number: int | None) -> list[str]:
    """Return test cases of a run, drawn with the system's random numbers, so that nobody can predict them."""
    cases = sorted(read_cases(folder)["case"].unique())
    return cases if number is None else random.SystemRandom().sample(cases, min(number, len(cases)))


def _rescore(reinference: Reinference, folder: Path, chosen: list[str]) -> list[str]:
    """Return a line for every recorded score that the recorded network does not reach.

    Raises:
        UserError, ModelError: when the data is absent.
    """
    if not chosen:
        return []
    again = {(row.case, row.class_name): row for row in reinference.score(str(folder), chosen)}
    found, cases = [], read_cases(folder)
    for row in cases[cases["case"].isin(chosen)].to_dict("records"):
        score = again[row["case"], row["class"]]
        for name, tolerance in _ROUNDING.items():
            if abs(getattr(score, name) - row[name]) > tolerance:
                found.append(
                    f"case {row['case']}, {row['class']}: recorded {name} {row[name]:.4f}, "
                    f"but its network reaches {getattr(score, name):.4f}"
                )
    return found


def _missing(specs: dict[str, RunSpec], published: Records | None) -> Iterator[str]:
    """Yield strategies without some folds, and runs whose parent runs are neither submitted nor published."""
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
        if missing := sorted(wanted - found):
            yield (
                f"{spec.strategy} on {spec.dataset.name}, {spec.n_train} images: "
                f"fold {', '.join(map(str, missing))} is missing"
            )
    known = set(specs) | (set() if published is None else set(published.runs["run"]))
    for spec in specs.values():
        for name, parent in spec.parents.items():
            if parent not in known:
                yield f"run {spec.id} of {spec.strategy}: its parent run '{name}' ({parent}) is missing"
