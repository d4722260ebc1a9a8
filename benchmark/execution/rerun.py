"""Repetition of a recorded run by its own command, and comparison of the two results."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from stampbench.benchmark.environment.machine import processor
from stampbench.benchmark.errors import UserError, unknown
from stampbench.benchmark.records.publish import with_provenance
from stampbench.benchmark.records.tables import Records, read_records

_COMPARED = (
    "test_dice", "test_hd95", "test_msd", "test_nsd", "test_empty", "validation_dice", "selected_step", "parameters",
    "flops", "epochs", "ranking_passes",
)  # fmt: skip
_OPTIONS = {
    "--strategy", "--network", "--dataset", "--n-train", "--training-set", "--folds", "--seed", "--protocol", "--set",
    "--network-set", "--protocol-set", "--device", "--threads", "--kernels", "--save-memory", "--deterministic",
    "--tf32", "--cudnn-benchmark", "--spatial-dims", "--subject-pattern", "--split-version", "--image-size", "--fit",
    "--patch-size",
}  # fmt: skip
"""Options that the command of a record has; others, such as `--plugin`, are not executed."""
_ROUNDED = 1e-6
"""Published tables have six decimals."""


class Repetition(NamedTuple):
    """The outcome of a repetition.

    Attributes:
        compared: a line about what was compared, with its result.
        differences: a line per value that differs.
    """

    compared: str
    differences: list[str]


def rerun(root: Path, text: str, data_root: Path | None) -> Repetition:
    """Repeat a finished run in a temporary store by its own command, and compare scores, network and charges.

    Args:
        root: store, or folder with published tables, that holds the run.
        text: the run's id, or the beginning of it.
        data_root: folder that holds the named datasets' folders.

    Raises:
        UserError: when there is no such run, it needs a plug-in, or its command fails or gives another run.
    """
    recorded = _one(read_records(root, [], trajectories=False), text, root)
    if "command" not in recorded.runs:
        recorded = with_provenance(root, recorded)
    row = recorded.runs.iloc[0]
    words = _command(str(row["command"]), str(row["run"]))
    with tempfile.TemporaryDirectory(prefix="stampbench-rerun-") as scratch:
        words += ["--data-root", str(data_root)] if data_root else []
        if code := _execute(words, Path(scratch)):
            raise UserError(f"run {row['run']}: its command failed with exit code {code}")
        found = read_records(Path(scratch), [], trajectories=False)
        if row["run"] not in set(found.runs["run"]):
            ids = ", ".join(found.runs["run"])
            raise UserError(
                f"run {row['run']}: its command gives the run {ids} here: data, plug-ins or versions of stampbench "
                "differ"
            )
        repeated = found.of(found.runs[found.runs["run"] == row["run"]])
    differences = list(_differences(recorded, repeated))
    machine = f"recorded on {row['processor']}, {row['threads']:.0f} thread(s); repeated on {processor()}"
    result = (
        "differs" if differences else f"the same: test Dice {row['test_dice']:.6f}, {row['parameters']:,} parameters"
    )
    return Repetition(f"{row['run']} {row['strategy']}: {result} ({machine})", differences)


def _one(records: Records, text: str, root: Path) -> Records:
    ids = [] if records.runs.empty else [each for each in records.runs["run"] if each.startswith(text)]
    if not ids:
        raise unknown(f"run at {root}", text, [] if records.runs.empty else list(records.runs["run"]))
    if len(ids) > 1:
        raise UserError(f"run '{text}' is ambiguous: {', '.join(sorted(ids))}")
    return records.of(records.runs[records.runs["run"] == ids[0]])


def _command(text: str, run: str) -> list[str]:
    """Return the words after `stampbench` of a recorded command.

    Raises:
        UserError: when it is not a command of `stampbench run` with options that records use.
    """
    words = shlex.split(text)
    options = {word for word in words if word.startswith("--")}
    if "--weights" in options:
        raise UserError(
            f"run {run}: starts from trained weights that are not part of its record; put the path of their file into "
            "its command and run it"
        )
    if words[:2] != ["stampbench", "run"] or not options <= _OPTIONS:
        odd = ", ".join(sorted(options - _OPTIONS)) or text
        raise UserError(f"run {run}: its command is not executed, because records have no such command: {odd}")
    return words[1:]


def _execute(words: list[str], store: Path) -> int:
    """Execute `stampbench` in a process of its own, recording in `store`, and return the exit code."""
    command = [sys.executable, "-m", "stampbench.benchmark", *words, "--runs", str(store)]
    return subprocess.run(command, stdout=subprocess.DEVNULL).returncode


def _differences(recorded: Records, repeated: Records) -> Iterator[str]:
    (_, one), (_, other) = next(recorded.runs.iterrows()), next(repeated.runs.iterrows())
    for name in _COMPARED:
        if abs(float(one[name]) - float(other[name])) > _ROUNDED * max(1.0, abs(float(one[name]))):
            yield f"{name}: {one[name]:.10g} recorded, {other[name]:.10g} repeated"
    cases: pd.DataFrame = recorded.cases.merge(repeated.cases, on=["run", "case", "class"], how="outer")
    apart = (cases["dice_x"] - cases["dice_y"]).abs()
    different = cases[~(apart <= _ROUNDED)]
    if len(different):
        yield f"Dice of {len(different)} of {len(cases)} case × class, by at most {apart.max():.4g}"
