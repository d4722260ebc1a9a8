"""Settings of how runs are computed; none of them belongs to a run's id."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, Field, model_validator

if TYPE_CHECKING:  # it takes a second to import, which --help does not have
    import torch


class ComputeSettings(BaseModel, frozen=True, extra="forbid"):
    """Device, threads and numerical options of training and inference.

    Fast and plain kernels agree to rounding. A resumed run ends bit for bit like an uninterrupted one only with the
    same kernels, on a CPU, with the same number of threads.
    """

    device: str = Field("auto", description="auto (the first GPU, else the CPU), cpu, cuda, cuda:N or mps")
    threads: int | None = Field(None, ge=1, description="CPU threads of a run; None: one per core")
    kernels: Literal["fast", "plain"] = Field(
        "fast",
        description="fast: channels-last and fused normalisation on a CPU, CUDA graphs on a GPU, and channels-last "
        "weights there in bf16 and fp16; plain: PyTorch's modules and loop",
    )
    allocator: Literal["keep", "system"] = Field(
        "keep", description="keep: glibc keeps freed memory for reuse; system: it is returned to the system"
    )
    save_memory: bool = Field(False, description="activation checkpointing: less memory, slower")
    deterministic: bool = Field(False, description="use deterministic algorithms only")
    tf32: bool = Field(False, description="allow TF32 on NVIDIA GPUs")
    # Off by default: every prune makes shapes that cuDNN would time anew, and the fastest algorithm of a moment
    # rounds differently from that of another process.
    cudnn_benchmark: bool = Field(False, description="let cuDNN time convolutions of each new shape on NVIDIA GPUs")
    trajectory_test: bool = Field(
        False, description="score the test cases at every checkpoint when training has ended; it selects nothing"
    )
    save_every: float = Field(10.0, ge=0, description="seconds between saved resume states")

    @model_validator(mode="after")
    def _reproducible(self) -> Self:
        if self.deterministic and self.cudnn_benchmark:
            raise ValueError("deterministic and cudnn_benchmark are mutually exclusive; set only one of them")
        return self

    @property
    def torch_device(self) -> torch.device:
        """The device as PyTorch's object.

        Raises:
            UserError: when the name is unknown or the device is absent.
        """
        from stampbench.benchmark.environment.device import choose_device

        return choose_device(self.device)


def configure_process(settings: ComputeSettings) -> None:
    """Apply threads, deterministic algorithms, TF32 and cuDNN's choice of convolutions to the whole process.

    The allocator is not among them: `allocator.keep_heap` is called after data is prepared, which needs large blocks
    that training has no use for.
    """
    import torch

    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Setting this imports torch._inductor, more than a second; usually it is set already.
    if settings.deterministic != torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = settings.cudnn_benchmark
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = settings.tf32
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
