"""Checks of somebody's store before its runs join a published leaderboard."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pandas as pd

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.contradictions import find_contradictions
from stampbench.benchmark.records.publish import publish
from stampbench.benchmark.records.record_file import RECORD, read_record
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.run_tables import read_cases
from stampbench.benchmark.records.schema import Record
from stampbench.benchmark.records.submission_files import NAMES, find_foreign_files
from stampbench.benchmark.records.table_schemas import CASES
from stampbench.benchmark.records.tables import Records, write_tables
from stampbench.benchmark.records.timings import FOLDER as TIMINGS
from stampbench.benchmark.records.verify import verify_store
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError

_MOST_LINES = 20
_YOUNGER = {"epochs.csv"}
"""Files that older runs lack."""
_ROUNDING = {"dice": 0.005, "hausdorff": 5.0, "hd95": 1.0, "msd": 0.2, "nsd": 0.02, "reference_voxels": 0}
"""Differences of scores that rounding on another machine may cause, which changes single voxels."""


class SubmissionReport(NamedTuple):
    """Result of a check.

    Attributes:
        runs: number of runs that were checked.
        rescored: number of cases that were segmented again.
        problems: reasons to refuse the submission.
    """

    runs: int
    rescored: int
    problems: list[str]


def check_submission(
    root: Path,
    published: Records | None,
    data_root: Path | None = None,
    *,
    folder: str | None = None,
    rescore: int | None = 3,
    report: Callable[[int, int, str], None] = lambda done, total, folder: None,
) -> SubmissionReport:
    """Check the store at `root`, whose files may have been made to mislead or to exhaust this process.

    Checked are: that nothing but files of runs is there, checksums of all files, the spec's id, labels and strategy,
    agreement of summary and tables, that every case and class is there once, that scores are possible with the voxel
    counts beside them, parameters and MACs of the architectures, protocol, data and reference masks, epochs charged for
    parent runs, that no fold is missing, and that the runs can be published. The cases have to be the test set of the
    fold, and some are segmented and scored again with the network; a run for which that is not possible is refused,
    whatever the reason.

    Args:
        root: the submitted store.
        published: the tables that the runs are to join; None: none.
        data_root: folder that holds the named datasets' folders.
        folder: folder or definition file of the data of runs on anything but a named dataset.
        rescore: number of cases per run, drawn at random, to segment again; None: all.
        report: called with the number of checked runs, the number of all, and the folder that is checked next.
    """
    if foreign := list(islice(find_foreign_files(root), _MOST_LINES)):
        return SubmissionReport(0, 0, foreign)
    store = RunStore(root)
    problems: list[str] = []
    rescored = 0
    records: dict[str, Record] = {}
    reinference = Reinference(store, data_root, folder, trusted=False)
    total = len(store.paths())
    report(0, total, str(root))
    for number, status in enumerate(verify_store(store), start=1):
        report(number, total, str(status.folder))
        if status.state != "finished":
            problems.append(f"{status.folder}: {status.state}: {status.text}")
            continue
        try:
            record = read_record(status.folder / RECORD)
            records[record.id] = record
            found, chosen = _check_run(status.folder, record, published, reinference, rescore)
        except Exception as error:  # whatever a stranger's files cause
            found, chosen = [f"cannot be checked ({type(error).__name__}: {error})"], 0
        rescored += chosen
        problems += [f"{status.folder}: {text}" for text in found]
    problems += _of_the_store(root, total, records, published)
    if not problems:
        problems += _of_publication(root, published)
    return SubmissionReport(len(records), rescored, problems)


def _check_run(
    folder: Path, record: Record, published: Records | None, reinference: Reinference, rescore: int | None
) -> tuple[list[str], int]:
    """Return the problems of one run, and the number of cases that were segmented again."""
    present = {name for name in NAMES if (folder / name).exists()}
    if missing := sorted((NAMES - _YOUNGER | present) - set(record.files)):
        return [f"has no checksum of {', '.join(missing)}"], 0
    cases = pd.DataFrame(read_cases(folder, record))
    if missing := sorted(set(CASES.columns) - set(cases) - {"average_hausdorff_set"}):
        return [f"cases.csv: missing column '{missing[0]}'"], 0
    if cases.empty:
        return ["cases.csv has no cases"], 0
    found = [*find_contradictions(folder, record, cases), *_differences(record, cases, published)]
    names = sorted(set(cases["case"]))
    # Drawn with the system's random numbers, so that nobody can predict them.
    chosen = names if rescore is None else random.SystemRandom().sample(names, min(rescore, len(names)))
    try:
        return found + _rescore(reinference, folder, record, cases, chosen), len(chosen)
    except (UserError, ModelError, DatasetError) as error:
        return [*found, f"was not segmented again: {error}"], 0


def _of_the_store(root: Path, runs: int, records: dict[str, Record], published: Records | None) -> Iterator[str]:
    """Yield problems that do not belong to one run."""
    if not runs:
        yield f"{root}: no runs"
    if (root / TIMINGS).exists():
        yield f"{root / TIMINGS}: timings cannot be checked; whoever publishes measures them"
    yield from _missing_folds([record.spec for record in records.values()], published)
    yield from _wrong_parents(records, published)


def _of_publication(root: Path, published: Records | None) -> list[str]:
    """Return why the runs cannot be published: they are published into a temporary folder."""
    problems: list[str] = []
    with TemporaryDirectory() as folder:
        try:
            if published is not None:
                write_tables(published, Path(folder))
            publish(root, Path(folder), problems)
        except Exception as error:  # whatever a stranger's records cause
            problems.append(f"{root}: cannot be published ({type(error).__name__}: {error})")
    return problems


def _differences(record: Record, cases: pd.DataFrame, published: Records | None) -> Iterator[str]:
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
    given = {"unit": data.unit, "synthetic": data.synthetic, "equivalence_margin": data.equivalence_margin}
    for name, value in given.items():
        if value != known[name].iloc[0]:
            yield f"its {name.replace('_', ' ')} is {value}, the leaderboard's {known[name].iloc[0]}"
    keys = ["case", "class", "subject", "reference_voxels"]
    own = set(cases[keys].itertuples(index=False, name=None))
    other = published.cases[published.cases["run"] == known["run"].iloc[0]]
    if own != set(other[keys].itertuples(index=False, name=None)):
        yield "its test cases, their classes, subjects or labelled voxels are not those of the leaderboard's runs"


def _rescore(
    reinference: Reinference, folder: Path, record: Record, cases: pd.DataFrame, chosen: Sequence[str]
) -> list[str]:
    """Return a line for every recorded score of some cases that the recorded network does not reach.

    Args:
        reinference: segments cases again.
        folder: folder of the run.
        record: its record.
        cases: the scores of all its test cases.
        chosen: the cases to segment again; without any, the data is not looked at.

    Raises:
        UserError, ModelError, DatasetError: when they cannot be segmented again.
    """
    if not chosen:
        return []
    if dict(zip(cases["case"], cases["subject"], strict=True)) != reinference.test_cases(record):
        return ["its cases and subjects are not the test set of its fold"]
    again = {(row.case, row.class_name): row for row in reinference.score(str(folder), sorted(chosen))}
    found = []
    for row in cases[cases["case"].isin(chosen)].to_dict("records"):
        score = again[row["case"], row["class"]]
        if row["empty"] != score.empty:
            found.append(
                f"case {row['case']}, {row['class']}: recorded empty mask '{row['empty']}', but '{score.empty}'"
            )
        for name, tolerance in _ROUNDING.items():
            if not abs(getattr(score, name) - row[name]) <= tolerance:
                found.append(
                    f"case {row['case']}, {row['class']}: recorded {name} {row[name]:.4f}, "
                    f"but its network reaches {getattr(score, name):.4f}"
                )
    return found


def _missing_folds(specs: Iterable[RunSpec], published: Records | None) -> Iterator[str]:
    """Yield strategies without some folds."""
    folds: dict[tuple[str, str], set[int]] = {}
    named: dict[tuple[str, str], RunSpec] = {}
    for spec in specs:
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


def _wrong_parents(records: dict[str, Record], published: Records | None) -> Iterator[str]:
    """Yield runs whose parent runs are unknown or belong to another table or fold, or that are not charged for them."""
    rows = [] if published is None else published.runs.to_dict("records")
    known = {row["run"]: (row["group"], row["fold"], row["epochs"]) for row in rows}
    known |= {id: (each.group, each.spec.fold, each.results.epochs) for id, each in records.items()}
    for record in records.values():
        spec, charged = record.spec, record.results.parent_epochs
        what = f"run {spec.id} of {spec.strategy}"
        parents = {id: known.get(id) for id in spec.parents.values()}
        for name, id in spec.parents.items():
            if (parent := parents[id]) is None:
                yield f"{what}: its parent run '{name}' ({id}) is missing"
            elif parent[:2] != (record.group, spec.fold):
                yield f"{what}: its parent run '{name}' ({id}) has other data, another protocol or another fold"
            elif spec.test_precision and id in records and not _same_network(record, records[id]):
                yield f"{what}: its network is not that of its parent run '{name}' ({id})"
        epochs = sum(parent[2] for parent in parents.values() if parent is not None)
        if None not in parents.values() and charged != epochs:
            yield f"{what}: is charged {charged} epochs of its parent runs, which have {epochs}"


def _same_network(record: Record, parent: Record) -> bool:
    """Return whether two runs have the same weights."""
    found = [each.files.get("model/weights.safetensors") for each in (record, parent)]
    return found[0] is not None and found[0] == found[1]
