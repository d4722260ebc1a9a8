"""Tables of inference latency."""

from __future__ import annotations

import pandas as pd
from tabulate import tabulate

from stampbench.reports.escape import markdown
from stampbench.reports.listing import Listing

MACHINE = ("processor", "device", "driver", "threads", "torch")
"""Columns that must have a single value in a table of timings."""
_MIN_ROUNDS_FOR_P99 = 100
"""With fewer rounds the 99th percentile is almost the maximum, so it is not shown."""


class MixedMachinesError(ValueError):
    """Timings come from different machines, devices or thread counts and cannot share a table."""


def latency_tables(timings: pd.DataFrame) -> str:
    """Return markdown with a table for each backend, precision, batch size and image shape.

    A table has a row per network; the first column of numbers is the time relative to the first network.

    Args:
        timings: rows with the columns of `latency.csv`.

    Raises:
        MixedMachinesError: when the timings come from more than one machine, device or number of threads.
    """
    for column in MACHINE:
        values = timings[column].fillna("none").astype(str).unique()
        if len(values) > 1:
            raise MixedMachinesError(f"timings differ in {column}: {', '.join(values)}; make one table for each value")
    parts = [
        f"**{each.title.replace(',', '**,', 1)}\n\n"
        f"{tabulate(_cells(each), list(each.titles.values()), tablefmt='pipe', disable_numparse=True)}\n"
        for each in latency_listings(timings)
    ]
    first = timings.iloc[0]
    machine = f"{first['processor']}, device {first['device']}, driver {first['driver'] or 'none'}, {first['clock']}"
    parts.append(
        f"{machine}, {first['threads']} threads, torch {first['torch']}; {_rounds(timings)} rounds of interleaved "
        "timing.\n"
    )
    return "\n".join(parts)


def latency_listings(timings: pd.DataFrame) -> list[Listing]:
    """Return a table for each backend, precision, batch size and image shape; values are the columns of timings."""
    titles = {
        "network": "network", "ratio": "× first (95 %)", "p50_ms": "p50 [ms]", "p90_ms": "p90", "p99_ms": "p99",
        "images_per_second": "images/s", "parameters": "parameters", "macs": "MACs", "tensor_bytes": "tensors [MB]",
    }  # fmt: skip
    found = []
    for (backend, precision, batch, shape), rows in timings.groupby(
        ["backend", "precision", "batch", "shape"], sort=False
    ):
        title = f"{backend}, {precision}, batch {batch} of {shape}, {rows['layout'].iloc[0]}"
        texts = pd.DataFrame([_row(row) for _, row in rows.iterrows()], rows.index, list(titles))
        short = ("network", "ratio", "p50_ms", "images_per_second", "parameters")
        found.append(Listing(title, rows[list(titles)], texts, titles, ("network",), short=short))
    return found


def _cells(listing: Listing) -> list[list[str]]:
    return [[markdown(row[0]), *row[1:]] for row in listing.texts.to_numpy().tolist()]


def _row(row: pd.Series) -> list[str]:  # type: ignore[type-arg]
    """Return the cells of a network; numbers that are too noisy are replaced by words and dashes."""
    size = [f"{row['parameters']:,}", f"{row['macs']:,}", f"{row['tensor_bytes'] / 1e6:.1f}"]
    ratio = f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})"
    times = [f"{row[name]:.2f}" for name in ("p50_ms", "p90_ms", "p99_ms")] + [f"{row['images_per_second']:.1f}"]
    if row["rounds"] < _MIN_ROUNDS_FOR_P99:
        times[2] = "–"
    if row["noisy_ratio"]:
        ratio = "too noisy"
    if row["noisy_time"]:
        times = ["too noisy", "–", "–", "–"]
    return [str(row["network"]), ratio, *times, *size]


def _rounds(timings: pd.DataFrame) -> str:
    """Return the number of rounds, or its range if tables differ."""
    least, most = timings["rounds"].min(), timings["rounds"].max()
    return str(least) if least == most else f"{least} to {most}"
