"""Tables of latency."""

from __future__ import annotations

import pandas as pd
from tabulate import tabulate

MACHINE = ("processor", "device", "driver", "threads", "torch")
"""What has to be the same in a table."""
_ROUNDS_FOR_P99 = 100
"""Of fewer the 99th percentile is next to the largest."""


class MixedMachinesError(ValueError):
    """Timings of different machines, devices or threads, which no table compares."""


def latency_tables(timings: pd.DataFrame) -> str:
    """Markdown: a table for each backend, precision and batch; a row per network, the ratio to the first one first.

    Args:
        timings: the columns of `latency.csv`.

    Raises:
        MixedMachinesError: timings of more than one machine, device or number of threads.
    """
    for column in MACHINE:
        values = timings[column].fillna("none").astype(str).unique()
        if len(values) > 1:
            raise MixedMachinesError(f"timings differ in {column}: {', '.join(values)}; a table has only one")
    parts = []
    for (backend, precision, batch, shape), rows in timings.groupby(
        ["backend", "precision", "batch", "shape"], sort=False
    ):
        title = f"**{backend}**, {precision}, batch {batch} of {shape}, {rows['layout'].iloc[0]}"
        table = [_row(row) for _, row in rows.iterrows()]
        header = [
            "network",
            "× first (95 %)",
            "p50 [ms]",
            "p90",
            "p99",
            "images/s",
            "parameters",
            "MACs",
            "tensors [MB]",
        ]
        parts.append(f"{title}\n\n{tabulate(table, header, tablefmt='pipe', disable_numparse=True)}\n")
    first = timings.iloc[0]
    machine = f"{first['processor']}, device {first['device']}, driver {first['driver'] or 'none'}, {first['clock']}"
    parts.append(f"{machine}, {first['threads']} threads, torch {first['torch']}; rounds {_rounds(timings)}.\n")
    return "\n".join(parts)


def _row(row: pd.Series) -> list[str]:  # type: ignore[type-arg]
    size = [f"{row['parameters']:,}", f"{row['macs']:,}", f"{row['tensor_bytes'] / 1e6:.1f}"]
    ratio = f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
    times = [f"{row[name]:.2f}" for name in ("p50_ms", "p90_ms", "p99_ms")] + [f"{row['images_per_second']:.1f}"]
    if row["rounds"] < _ROUNDS_FOR_P99:
        times[2] = "–"
    if row["noisy_ratio"]:
        ratio = "too noisy"
    if row["noisy_time"]:
        times = ["too noisy", "–", "–", "–"]
    return [str(row["network"]), ratio, *times, *size]


def _rounds(timings: pd.DataFrame) -> str:
    least, most = timings["rounds"].min(), timings["rounds"].max()
    return str(least) if least == most else f"{least} to {most}"
