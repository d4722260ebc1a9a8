"""Latency of strategies relative to the standard network, computed from the timings of their runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from stampbench.reports.latency import MACHINE, timing_names
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.statistics import cluster_interval

_BACKEND_PREFERENCE = (
    "tensorrt", "onnxruntime-cuda", "onnxruntime", "openvino", "compile", "cudagraph", "fast", "eager",
)  # fmt: skip
"""Breaks ties between backends that time equally many strategies; inference runtimes come first, as in deployment."""


def standard_label(runs: pd.DataFrame) -> str | None:
    """Return the label of the strategy `standard` among runs; of several variants, the one with the shortest label."""
    labels = set(runs.loc[runs["name"] == "standard", "strategy"])
    return min(labels, key=lambda label: (len(label), label)) if labels else None


def in_low_precision(runs: pd.DataFrame) -> bool:
    """Return whether a strategy's networks are those of other runs in a low precision."""
    return bool(runs["name"].eq("quantised").all())


class Speed(NamedTuple):
    """Latency relative to `standard` by strategy, for one image; a strategy in a low precision has that one.

    `notes` name the backend, the machine and what was skipped; `backend` and `machine` are empty if there is no ratio.
    `intervals` holds the bounds of the ratio's 95 % confidence interval, over runs where five or more were timed, else
    over rounds of timing; `place` names backend, processor and threads.
    """

    ratios: dict[str, float]
    notes: list[str]
    backend: str = ""
    machine: str = ""
    intervals: Mapping[str, tuple[float, float]] = {}
    place: str = ""


def speeds(runs: pd.DataFrame, timings: pd.DataFrame, backend: str | None = None) -> Speed:
    """Compute the latency ratio of every strategy to `standard` within the sessions of one machine.

    A session is one interleaved timing of several networks; times of different sessions are never compared. The
    machine is the one on which most strategies were timed with any backend. Timings of other machines are skipped, and
    a note names these machines.

    Args:
        runs: runs on one dataset in one image form.
        timings: rows with the columns that `stampbench latency` writes, and `run`.
        backend: backend to report; None selects the one with which most strategies were timed.
    """
    standard = standard_label(runs)
    if timings.empty or standard is None:
        return Speed({}, [])
    frame = selected_networks(timings)
    # Networks of the strategy `quantised` are timed in the precision in which they were tested.
    low = frame["run"].map(runs.set_index("run")["name"]) == "quantised"
    frame = frame[(frame["batch"] == 1) & ((frame["precision"] != "fp32") == low)].copy()
    frame["strategy"] = frame["run"].map(runs.set_index("run")["strategy"])
    frame = frame[~frame["noisy_ratio"].astype(bool) & frame["strategy"].notna()]
    with_standard = frame.loc[frame["strategy"] == standard, ["measured", "backend"]].drop_duplicates()
    frame = frame.merge(with_standard, on=["measured", "backend"])
    if frame.empty:
        return Speed({}, [])
    parts = frame[list(MACHINE)].fillna("").astype(str)
    parts = parts.assign(threads=parts["threads"] + " threads", torch="torch " + parts["torch"])
    machines = pd.Series([", ".join(filter(None, row)) for row in parts.to_numpy().tolist()], frame.index)
    machine = frame.groupby(machines)["strategy"].nunique().idxmax()
    other_machines = sorted(set(machines) - {machine})
    frame = frame[machines == machine]
    counts = frame.groupby("backend")["strategy"].nunique()
    chosen = backend or min(counts.index, key=lambda each: (-counts[each], _preference(each)))
    notes = [f"Latency: relative to {standard} ({chosen} backend, one image, interleaved timing) on {machine}."]
    if other_machines:
        notes.append(f"Latency: timings from other machines are skipped: {'; '.join(other_machines)}.")
    median = _ratios(frame[frame["backend"] == chosen], standard)
    intervals = {name: (row["ratio_low"], row["ratio_high"]) for name, row in median.items() if "ratio_low" in row}
    ratios = {name: row["ratio"] for name, row in median.items()}
    place = f"{chosen} backend on {frame['processor'].iloc[0]}, {frame['threads'].iloc[0]} threads"
    return Speed(ratios, notes, str(chosen), str(machine), intervals, place)


def selected_networks(timings: pd.DataFrame) -> pd.DataFrame:
    """Return the wall-clock times of runs' selected networks, without those of other checkpoints."""
    frame = timings[timing_names(timings) == "wall"]
    return frame[frame["step"].isna()] if "step" in frame else frame


def _ratios(frame: pd.DataFrame, standard: str) -> dict[str, dict[str, float]]:
    """Return each strategy's time over the standard networks' time in the same session, with its bounds.

    Of five or more timed runs of a strategy, it is the mean with Student's interval over runs, whose networks may
    differ in size. Of fewer, it is the median over runs; if the timings have bounds, they are over rounds of timing.

    Both times are ratios to the session's first network from interleaved timing, which are robust to machine noise.
    """
    names = [name for name in ("ratio", "ratio_low", "ratio_high") if name in frame]
    sessions = []
    for _, session in frame.groupby("measured"):
        base = session.loc[session["strategy"] == standard, "ratio"].median()
        if base > 0:
            sessions.append(session.assign(**{name: session[name] / base for name in names}))
    if not sessions:
        return {}
    found = {}
    for strategy, own in pd.concat(sessions).groupby("strategy"):
        by_run = own.groupby("run")[names].median()
        found[str(strategy)] = {str(key): float(value) for key, value in by_run.median().items()}
        if len(by_run) >= MIN_READERS:
            mean, low, high = cluster_interval(by_run["ratio"].to_numpy(), range(len(by_run)))
            found[str(strategy)] = {"ratio": mean, "ratio_low": low, "ratio_high": high}
    return found


def _preference(backend: object) -> int:
    return _BACKEND_PREFERENCE.index(str(backend)) if backend in _BACKEND_PREFERENCE else len(_BACKEND_PREFERENCE)
