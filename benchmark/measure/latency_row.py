"""A timing of one network, as tables hold it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from stampbench.benchmark.config.bounds import Amount, Count
from stampbench.benchmark.environment.machine import TimingMachine

TimingName = Literal["wall", "kernels", "throughput"]
TIMINGS: dict[TimingName, str] = {
    "wall": "wall clock of a call that is waited for: what an application sees",
    "kernels": "replay of a CUDA graph with a cold L2 cache: the kernels without launches",
    "throughput": "calls in a row without waiting, with the network's saturating batch",
}


class NetworkTiming(BaseModel, frozen=True):
    """A timing of one network, part of a row of `latency.csv`; the machine's columns follow it."""

    network: str = Field(description="name of the network in its table")
    backend: str = Field(description="inference backend")
    precision: str = Field(description="fp32, bf16, fp16 or int8")
    layout: str = Field(description="memory layout of the tensors")
    batch: Count = Field(description="images per batch")
    shape: str = Field(description="channels and spatial size of an image")
    parameters: Count = Field(description="trainable parameters")
    macs: Count = Field(description="multiply-accumulates of one image")
    ratio: Amount = Field(description="median ratio of times to the first network of the table")
    ratio_low: Amount = Field(description="lower end of the ratio's 95 % confidence interval")
    ratio_high: Amount = Field(description="upper end of the ratio's 95 % confidence interval")
    p50_ms: Amount = Field(description="median time of a batch in milliseconds")
    p90_ms: Amount = Field(description="90th percentile of the time of a batch in milliseconds")
    p99_ms: Amount = Field(description="99th percentile of the time of a batch in milliseconds")
    images_per_second: Amount = Field(description="images per second at the median time")
    tensor_bytes: Count = Field(description="peak bytes of live tensors")
    rounds: Count = Field(description="timed samples")
    # A disturbance that slows all networks alike leaves ratios precise and times imprecise.
    noisy_ratio: bool = Field(description="whether the ratio's interval is too wide to print the ratio")
    noisy_time: bool = Field(description="whether the median time's interval is too wide to print the time")
    # Older rows lack what follows.
    timing: Literal[TimingName, "events"] = Field(
        "wall", description="what was timed; events: the time between two CUDA events, in rows older than this column"
    )
    calls: Count = Field(1, description="calls per timed sample, so that it lasts a millisecond; times are per call")
    allocated_bytes: Count | None = Field(
        None, description="peak bytes that PyTorch's CUDA allocator held for a batch; empty: unknown, or not on a GPU"
    )
    discarded: Count = Field(0, description="rounds that were discarded because the GPU throttled")
    throttling: str = Field("", description="reasons for which the GPU throttled, separated by '; '")
    sm_mhz: Amount | None = Field(None, description="median clock of the GPU's multiprocessors in MHz; empty: unknown")
    celsius: Amount | None = Field(None, description="highest temperature of the GPU in °C; empty: unknown")
    watts: Amount | None = Field(None, description="median power of the GPU in W; empty: unknown")
    file_bytes: Count | None = Field(None, description="bytes of the file that the backend reads; empty: it reads none")


class LatencyRow(TimingMachine, NetworkTiming, frozen=True):
    """A row of `latency.csv`: a timing and the machine it was measured on."""

    step: Count | None = Field(None, description="checkpoint of the run's trajectory; empty: the selected network")


YOUNGER = (
    "timing", "calls", "allocated_bytes", "discarded", "throttling", "sm_mhz", "celsius", "watts", "file_bytes", "step",
)  # fmt: skip
"""Columns that older tables lack."""
