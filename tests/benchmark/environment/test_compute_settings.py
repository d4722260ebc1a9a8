"""Compute settings of the process, and the machine that records describe."""

from __future__ import annotations

import torch

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
