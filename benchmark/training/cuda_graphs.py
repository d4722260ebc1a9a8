"""Recording of training steps as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.training.recorded_step import Recorder


def make_recorder(compute: ComputeSettings, precision: str) -> Recorder | None:
    """Return what records training steps; None if they are executed.

    Fast kernels on a GPU are recorded, but for fp16, whose loss scaling keeps books in Python, and for activation
    checkpointing, which saves random states in the middle of a step.

    Args:
        compute: compute settings.
        precision: precision of convolutions.
    """
    device = compute.torch_device
    recorded = device.type == "cuda" and compute.kernels == "fast" and precision != "fp16" and not compute.save_memory
    return CudaGraphs(device) if recorded else None


class CudaGraphs:
    """Records on a stream of its own, as CUDA requires; graphs are replayed on the current stream.

    Dropout draws the same numbers as without a graph: a replay takes the random state at that time and advances it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def prepare(self, action: Callable[[], Tensor]) -> Tensor:
        """Execute a function on the stream of recordings, which loads kernels and creates the optimiser's state."""
        current = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            result = action()
        current.wait_stream(self._stream)
        return result

    def record(self, action: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a function as a CUDA graph; the tensor that it returns is overwritten by every replay."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device):
            generator = torch.cuda.default_generators[torch.cuda.current_device()]
            before = generator.get_state()
            try:
                # The outer context restores the current stream, which the end of a failed recording does not.
                with torch.cuda.stream(self._stream), torch.cuda.graph(graph, stream=self._stream):
                    result = action()
            except Exception:
                self._release(generator, before)
                raise

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay

    def _release(self, generator: torch.Generator, state: Tensor) -> None:
        """Give the random generator a state that takes no part in a recording, as it may have after a failed one."""
        fresh = torch.Generator(self.device)
        fresh.set_state(state)
        generator.graphsafe_set_state(fresh.graphsafe_get_state())
        torch.cuda.empty_cache()
