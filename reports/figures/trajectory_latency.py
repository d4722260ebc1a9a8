"""Figure of latency along pruning, on every device that was timed, above the share of widths that suit a GPU."""

from __future__ import annotations

from statistics import median

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from stampbench.reports.figures.style import NothingToDrawError, legend, panels, parameter_axis, wrapped
from stampbench.reports.latency import timing_names
from stampbench.reports.looks import GREYS, MARKERS, looks

MULTIPLE = 8
"""Channels that tensor cores process together in half precision; other widths are padded."""
_LINES = ("-", "--", ":", "-.")
_BY = ("dataset", "n_train", "protocol", "group", "strategy")


def latency_along_pruning(
    runs: pd.DataFrame, trajectories: pd.DataFrame, timings: pd.DataFrame, **_: pd.DataFrame
) -> Figure:
    """Draw the latency of checkpoints relative to the unpruned network, and the share of widths divisible by 8.

    A line per run, device, backend and timing; they are greys, because devices are no strategies. A network that was
    never pruned, of a strategy such as `flat`, is a point.

    Args:
        runs: rows of `runs` as for `leaderboards`.
        trajectories: a row per checkpoint with `run`, `step`, `parameters` and `widths`.
        timings: rows that `stampbench latency` recorded of trajectories.
        **_: other tables of the records, which are not used.

    Raises:
        NothingToDrawError: when no trajectory was timed.
    """
    relative = relative_latency(timings)
    shown = runs[runs["run"].isin(relative["run"])]
    if shown.empty:
        raise NothingToDrawError(
            "no latencies of trajectories are recorded; measure and record them with 'stampbench latency'",
            setting="record",
        )
    figure, columns = panels(shown, _BY, width=4.8, height=2.6, rows=2)
    styles = looks(shown["strategy"])
    labels = list(dict.fromkeys(relative["label"]))
    for axes, group in columns:
        strategy = str(group["strategy"].iloc[0])
        own = relative[relative["run"].isin(group["run"])]
        for (label, _run, _session), rows in own.groupby(["label", "run", "measured"], sort=False):
            number = labels.index(str(label))
            axes[0].plot(
                rows["parameters"], rows["relative"], color=GREYS[number % len(GREYS)], label=label, linewidth=1.2,
                marker=MARKERS[number % len(MARKERS)], markersize=4, linestyle=_LINES[number % len(_LINES)],
            )  # fmt: skip
        axes[0].axhline(1, color="black", linewidth=0.8)
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel("latency / unpruned network")
        axes[0].set_title(f"{axes[0].get_title()}\n{wrapped(f'{strategy}, {len(group)} runs')}")
        for run in group["run"]:
            rows = trajectories[trajectories["run"] == run].sort_values("step")
            point = styles[strategy].marker if len(rows) == 1 else ""
            shares = rows["widths"].map(divisible_share)
            axes[1].plot(rows["parameters"], shares, color=styles[strategy].colour, marker=point)
        axes[1].set_ylim(-0.03, 1.03)
        axes[1].set(xlabel="remaining parameters", ylabel=f"share of widths divisible by {MULTIPLE}")
        _from_large_to_small(axes)
    legend(figure, [each for axes, _ in columns for each in axes])
    return figure


def relative_latency(timings: pd.DataFrame) -> pd.DataFrame:
    """Return the times of checkpoints relative to the unpruned network, their run's first checkpoint, in a session.

    The only checkpoint of a run that prunes nothing is compared with the largest unpruned network of its session, the
    median of several, if runs that prune were timed with it. Times are per image. Checkpoints, or whole runs in a
    session, that are too noisy for a ratio are left out.

    Returns:
        Rows with `run`, `step`, `parameters`, `relative`, `label` (device, backend, precision and timing), and the
        session, `measured`.
    """
    columns = ["run", "step", "parameters", "relative", "label", "measured"]
    if timings.empty or "step" not in timings:
        return pd.DataFrame(columns=columns)
    frame = timings[timings["step"].notna() & ~timings["noisy_ratio"].astype(bool)].sort_values("step")
    frame = frame.assign(timing=timing_names(frame))
    frame = frame.assign(label=_labels(frame))
    parts = []
    for _, session in frame.groupby(["label", "measured"], sort=False):
        unpruned = {}
        for run, rows in session.groupby("run", sort=False):
            steps = timings.loc[timings["run"] == run, "step"]
            if rows["step"].iloc[0] == steps.min() and steps.nunique() > 1:
                unpruned[run] = rows.iloc[0]
        most = max((row["parameters"] for row in unpruned.values()), default=0)
        largest = [row["ratio"] for row in unpruned.values() if row["parameters"] == most]
        for run, rows in session.groupby("run", sort=False):
            pruned = timings.loc[timings["run"] == run, "step"].nunique() > 1
            first = [unpruned[run]["ratio"]] if run in unpruned else [] if pruned else largest
            if first and (len(rows) > 1 or not pruned):
                parts.append(rows.assign(relative=rows["ratio"] / median(first)))
    return pd.concat(parts)[columns] if parts else pd.DataFrame(columns=columns)


def divisible_share(widths: str) -> float:
    """Return the share of widths, separated by spaces, that are multiples of 8."""
    numbers = [int(each) for each in widths.split()]
    return sum(each % MULTIPLE == 0 for each in numbers) / len(numbers)


def _labels(timings: pd.DataFrame) -> list[str]:
    """Return device, backend, precision and timing of each row; where there are several models, their names."""
    kinds = ["CPU" if device == "cpu" else "GPU" for device in timings["device"]]
    models = timings.groupby(kinds)["processor"].nunique()
    labels = []
    for kind, row in zip(kinds, timings.to_dict("records"), strict=True):
        device = kind if models[kind] == 1 else row["processor"]
        batch = "" if row["timing"] == "throughput" or row["batch"] == 1 else f", batch {row['batch']}"
        labels.append(f"{device}, {row['backend']} {row['precision']}, {row['timing']}{batch}")
    return labels


def _from_large_to_small(axes: list[Axes]) -> None:
    """Give both axes the same logarithmic axis of parameters, the unpruned network on the left."""
    parameter_axis(axes[1])
    parameter_axis(axes[0])
    axes[0].set_xlim(axes[1].get_xlim())
    for each in axes:
        each.invert_xaxis()
