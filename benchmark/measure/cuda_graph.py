"""CUDA graphs: the kernels of a call, recorded once and replayed with a single launch."""

from __future__ import annotations

import torch

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.stopwatch import Call

_WARM_UP = 3
"""Calls before the recording, in which libraries choose algorithms and allocate what they keep."""


class CapturedCall:
    """A call that replays the kernels of a computation on the same tensors, and returns the same output tensor."""

    def __init__(self, call: Call, device: torch.device) -> None:
        """Record the computation.

        Args:
            call: a computation on tensors that stay where they are; it must not wait for the device.
            device: a CUDA device.

        Raises:
            UserError: when the call does something that a graph cannot record.
        """
        self._call = call  # it owns the tensors, of which the graph has the addresses only
        self._device = device
        try:
            with torch.cuda.device(device):
                side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    for _ in range(_WARM_UP):
                        call()
                torch.cuda.current_stream().wait_stream(side)
                # Inference mode begins inside the call: a graph whose recording begins in it gives its random generator
                # tensors that no later recording outside of it may update (PyTorch's issue 166792).
                self._graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graph):
                    self._output = call()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"this network cannot be recorded as a CUDA graph ({reason}); the nearest backend is 'eager'"
            ) from error

    def __call__(self) -> object:
        """Queue the kernels; return the output tensor."""
        with torch.cuda.device(self._device):  # a replay is queued to the current device's stream
            self._graph.replay()
        return self._output
