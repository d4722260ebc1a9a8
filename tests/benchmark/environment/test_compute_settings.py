"""Compute settings of the process, and the machine that records describe."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.environment.machine import timing_machine
from stampbench.benchmark.environment.provenance import environment


def test_deterministic_algorithms_are_set_and_recorded() -> None:
    try:
        configure_process(ComputeSettings(device="cpu", deterministic=True))
        recorded = environment(ComputeSettings(device="cpu", deterministic=True))
        assert (recorded.deterministic, recorded.cudnn_benchmark, recorded.tf32) == (True, False, False)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        configure_process(ComputeSettings(device="cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert timing_machine(torch.device("cpu")).threads == torch.get_num_threads()


def test_cudnn_times_convolutions_only_on_request_and_never_with_deterministic_algorithms() -> None:
    assert not ComputeSettings().cudnn_benchmark
    try:
        configure_process(ComputeSettings(device="cpu", cudnn_benchmark=True))
        assert environment(ComputeSettings(device="cpu")).cudnn_benchmark
    finally:
        configure_process(ComputeSettings(device="cpu"))
    assert not torch.backends.cudnn.benchmark
    with pytest.raises(ValidationError, match="deterministic and cudnn_benchmark are mutually exclusive"):
        ComputeSettings(deterministic=True, cudnn_benchmark=True)
