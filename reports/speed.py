"""How long strategies' networks take beside the standard network's, from timings of their runs."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from stampbench.reports.latency import MACHINE

_BACKENDS = ("onnxruntime", "openvino", "compile", "fast", "eager")
"""Where several were timed as often, the first of these: a network is deployed in a runtime."""


def standard_label(runs: pd.DataFrame) -> str | None:
    """What the standard network is called among runs: plainly, else as the variant with the shortest label."""
    labels = set(runs.loc[runs["name"] == "standard", "strategy"])
    return min(labels, key=lambda label: (len(label), label)) if labels else None


class Speed(NamedTuple):
    """Latency over that of `standard` by strategy, of one image in single precision, and what to know of it."""

    ratios: dict[str, float]
    notes: list[str]
    backend: str = ""
    machine: str = ""


def speeds(runs: pd.DataFrame, timings: pd.DataFrame, backend: str | None = None) -> Speed:
    """Ratios within each session on one machine; timings of other machines are left out, and said so.

    A session is one measurement of networks in turns; times of different sessions are never compared. The machine is
    the one that most strategies were timed on, whatever the backend.

    Args:
        runs: of one dataset and form.
        timings: the columns that `stampbench latency` writes, and `run`.
        backend: None takes the one that most strategies were timed with.
    """
    standard = standard_label(runs)
    if timings.empty or standard is None:
        return Speed({}, [])
    frame = timings[(timings["batch"] == 1) & (timings["precision"] == "fp32")].copy()
    frame["strategy"] = frame["run"].map(runs.set_index("run")["strategy"])
    frame = frame[~frame["noisy_ratio"].astype(bool) & frame["strategy"].notna()]
    with_standard = frame.loc[frame["strategy"] == standard, ["measured", "backend"]].drop_duplicates()
    frame = frame.merge(with_standard, on=["measured", "backend"])
    if frame.empty:
        return Speed({}, [])
    told = frame[list(MACHINE)].fillna("").astype(str)
    told = told.assign(threads=told["threads"] + " threads", torch="torch " + told["torch"])
    machines = pd.Series([", ".join(filter(None, parts)) for parts in told.to_numpy().tolist()], frame.index)
    kept = frame.groupby(machines)["strategy"].nunique().idxmax()
    others = sorted(set(machines) - {kept})
    frame = frame[machines == kept]
    counts = frame.groupby("backend")["strategy"].nunique()
    chosen = backend or min(counts.index, key=lambda each: (-counts[each], _order(each)))
    notes = [f"Latency: × {standard}, {chosen}, one image, in turns, on {kept}."]
    if others:
        notes.append(f"Latency: timings of other machines are left out: {'; '.join(others)}.")
    return Speed(_ratios(frame[frame["backend"] == chosen], standard), notes, str(chosen), str(kept))


def _ratios(frame: pd.DataFrame, standard: str) -> dict[str, float]:
    """The median over runs of each one's time over the standard networks' in the same session.

    Both are ratios to the session's first network, measured turn by turn, which the noise of a machine moves least.
    """
    found = []
    for _, session in frame.groupby("measured"):
        base = session.loc[session["strategy"] == standard, "ratio"].median()
        if base > 0:
            found.append(session.assign(ratio_to_standard=session["ratio"] / base))
    if not found:
        return {}
    ratios = pd.concat(found).groupby("strategy")["ratio_to_standard"].median()
    return {str(strategy): float(value) for strategy, value in ratios.items()}


def _order(backend: object) -> int:
    return _BACKENDS.index(str(backend)) if backend in _BACKENDS else len(_BACKENDS)
