"""Tables of inference latency."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
from tabulate import tabulate

from stampbench.reports.escape import markdown
from stampbench.reports.listing import Listing, plain_text

MACHINE = ("processor", "device", "driver", "threads", "torch")
"""Columns that must have a single value in a table of timings."""
_MIN_ROUNDS_FOR_P99 = 100
"""With fewer rounds the 99th percentile is almost the maximum, so it is not shown."""


class MixedMachinesError(ValueError):
    """Timings come from different machines, devices or thread counts and cannot share a table."""


def latency_tables(timings: pd.DataFrame) -> str:
    """Return markdown with a table for each backend, precision, timing, batch size and image shape.

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
        f"{tabulate(_cells(each), _heads(each), tablefmt='pipe', disable_numparse=True)}\n"
        for each in (table.arranged() for table in latency_listings(timings))
    ]
    first = timings.iloc[0]
    machine = f"{first['processor']}, device {first['device']}, driver {first['driver'] or 'none'}, {first['clock']}"
    parts.append(
        f"{machine}, {first['threads']} threads, torch {first['torch']}; {_rounds(timings)} rounds of interleaved "
        f"timing{_gpu(timings)}.\n"
    )
    return "\n".join(parts)


def timing_names(timings: pd.DataFrame) -> pd.Series:  # type: ignore[type-arg]
    """Return what each row timed.

    Rows that are older than the column timed the wall clock on a CPU, and the time between two CUDA events around a
    call on a GPU, which is neither `wall` nor `kernels`: `events`.
    """
    older = pd.Series("wall", timings.index).mask(timings["device"].astype(str).str.startswith("cuda"), "events")
    return timings["timing"].fillna(older) if "timing" in timings else older


def latency_listings(timings: pd.DataFrame) -> list[Listing]:
    """Return a table for each backend, precision, timing, batch and image shape; values are the columns of timings.

    Most columns are hidden. Ratios refer to the first network of the table or, for networks that have a precision of
    their own, to the network that the title names.
    """
    titles = {
        "network": "network", "ratio": "× first (95 %)", "p50_ms": "p50 [ms]", "p90_ms": "p90", "p99_ms": "p99",
        "images_per_second": "images/s", "parameters": "parameters", "macs": "MACs", "tensor_bytes": "tensors [MB]",
    }  # fmt: skip
    names = timing_names(timings)
    own_batch = (names == "throughput").rename("own_batch")
    # Each network has its own saturating batch, so that these rows share a table.
    batches = timings["batch"].where(~own_batch, 0).rename("table_batch")
    found = []
    kinds = [timings["backend"], timings["precision"], names.rename("table_timing"), batches, timings["shape"]]
    for (backend, precision, timing, batch, shape, reference), rows in timings.groupby(
        [*kinds, _references(timings, names)], sort=False
    ):
        shown = titles | ({"ratio": "ratio (95 %)"} if reference else {})
        short = ["network", "ratio", "p50_ms", "images_per_second", "parameters"]
        if timing == "throughput":
            shown["batch"] = "batch"
            short.append("batch")
        if "allocated_bytes" in rows and rows["allocated_bytes"].notna().any():
            shown["allocated_bytes"] = "allocated [MB]"
        if "file_bytes" in rows and rows["file_bytes"].notna().any():
            shown["file_bytes"] = "file [kB]"
        title = _title(f"{backend}, {precision}", str(timing), f"{batch} of {shape}", str(rows["layout"].iloc[0]))
        if timing == "wall" and rows["device"].iloc[0] != "cpu":
            title += ", wall clock with synchronisation"
        title += f", relative to {reference}" if reference else ""
        hidden = {name: name.replace("_", " ") for name in map(str, timings) if name not in shown}
        texts = pd.DataFrame([_row(row, shown) for _, row in rows.iterrows()], rows.index, list(shown))
        texts = texts.assign(**{name: [plain_text(value) for value in rows[name].tolist()] for name in hidden})
        heads = shown | hidden
        found.append(
            Listing(title, rows[list(heads)], texts, heads, ("network",), short=tuple(short), hidden=tuple(hidden))
        )
    return found


def _references(timings: pd.DataFrame, names: pd.Series) -> pd.Series:  # type: ignore[type-arg]
    """Return the network that each row's ratio refers to if that is in another table, else an empty text.

    A network with a precision of its own is timed in turns with networks in the precision of their table.

    Args:
        timings: rows with the columns of `latency.csv`.
        names: what each row timed.
    """
    session = timings.groupby([timings["measured"], timings["backend"], names], sort=False)
    network, precision = (session[name].transform("first") for name in ("network", "precision"))
    return (network + " in " + precision).where(precision != timings["precision"], "").rename("reference")


def _title(backend: str, timing: str, batch: str, layout: str) -> str:
    """Return the title of a table.

    Args:
        backend: backend and precision.
        timing: what was timed.
        batch: number of images and their shape.
        layout: memory layout.
    """
    if timing == "throughput":
        return f"{backend}, saturated throughput of images of {batch.partition(' of ')[2]}, {layout}"
    what = {"kernels": ", kernels only (CUDA graph, cold L2 cache)", "events": ", between two CUDA events"}
    return f"{backend}, batch {batch}, {layout}{what.get(timing, '')}"


def _gpu(timings: pd.DataFrame) -> str:
    """Return what is known of the GPU's clock, temperature and power during the timings."""
    if "sm_mhz" not in timings or timings["sm_mhz"].isna().all():
        return ""
    clock = f"SM clock {timings['sm_mhz'].min():.0f} to {timings['sm_mhz'].max():.0f} MHz"
    tables = timings.groupby(["backend", "timing", "measured"], sort=False)["discarded"].first()
    hottest = f", up to {timings['celsius'].max():.0f} °C" if timings["celsius"].notna().any() else ""
    power = f", {timings['watts'].median():.0f} W" if timings["watts"].notna().any() else ""
    return f"; {clock}{hottest}{power}, {int(tables.sum())} throttled rounds discarded"


def _heads(listing: Listing) -> list[str]:
    return [listing.titles[str(name)] for name in listing.texts]


def _cells(listing: Listing) -> list[list[str]]:
    return [[markdown(row[0]), *row[1:]] for row in listing.texts.to_numpy().tolist()]


def _row(row: pd.Series, columns: Iterable[str]) -> list[str]:  # type: ignore[type-arg]
    """Return the cells of a network; numbers that are too noisy are replaced by words and dashes."""
    cells = {
        "network": str(row["network"]),
        "ratio": f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})",
        **{name: _milliseconds(row[name]) for name in ("p50_ms", "p90_ms", "p99_ms")},
        "images_per_second": f"{row['images_per_second']:.1f}",
        **{name: f"{row[name]:,}" for name in ("parameters", "macs", "batch")},
        "tensor_bytes": f"{row['tensor_bytes'] / 1e6:.1f}",
    }
    if "allocated_bytes" in columns:
        cells["allocated_bytes"] = "–" if pd.isna(row["allocated_bytes"]) else f"{row['allocated_bytes'] / 1e6:.1f}"
    if "file_bytes" in columns:
        cells["file_bytes"] = "–" if pd.isna(row["file_bytes"]) else f"{row['file_bytes'] / 1e3:.1f}"
    if row["rounds"] < _MIN_ROUNDS_FOR_P99:
        cells["p99_ms"] = "–"
    if row["noisy_ratio"]:
        cells["ratio"] = "too noisy"
    if row["noisy_time"]:
        cells |= {"p50_ms": "too noisy", "p90_ms": "–", "p99_ms": "–", "images_per_second": "–"}
    return [cells[name] for name in columns]


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _rounds(timings: pd.DataFrame) -> str:
    """Return the number of rounds, or its range if tables differ."""
    least, most = timings["rounds"].min(), timings["rounds"].max()
    return str(least) if least == most else f"{least} to {most}"
