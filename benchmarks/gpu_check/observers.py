"""What an engine does while it answers: which CUDA graph each step ran as, and where the host waited for the GPU."""

from __future__ import annotations

import functools
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch

_WAITED: Final = "called a synchronizing CUDA operation"
_OURS: Final = ("/cc_core/", "/cc_serve/")


class Steps:
    """Counts the steps that captured and injected, by the graph that they ran as: NONE, PIECEWISE or FULL."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self._graph = "NONE"

    def install(self) -> None:
        """Look on from now on; for a process that ends with its engine."""
        from vllm.v1.cudagraph_dispatcher import CudagraphDispatcher

        from cc_serve.engine.worker import ConnectedWorkerMixin

        self._look_on(CudagraphDispatcher, "dispatch")
        self._count(ConnectedWorkerMixin)

    def install_v2(self) -> None:
        """The same under the V2 model runner, whose modules load Triton kernels."""
        from vllm.v1.worker.gpu import model_runner

        self._look_on(model_runner, "dispatch_cg_and_sync_dp")

    def _look_on(self, owner: Any, name: str) -> None:
        dispatch = getattr(owner, name)

        @functools.wraps(dispatch)
        def dispatching(*args: Any, **kwargs: Any) -> Any:
            result = dispatch(*args, **kwargs)
            chosen = result[0]
            self._graph = getattr(chosen, "cg_mode", chosen).name  # V2 returns a descriptor, and V1 the mode itself
            return result

        setattr(owner, name, dispatching)

    def _count(self, worker: Any) -> None:
        from cc_serve.engine.marks import marks_of

        execute = worker.execute_model

        @functools.wraps(execute)
        def executing(self_: Any, scheduler_output: Any) -> Any:
            output = execute(self_, scheduler_output)
            if scheduler_output.total_num_scheduled_tokens:
                marks = marks_of(scheduler_output)
                counts = self.counts.setdefault(self._graph, Counter())
                counts.update(steps=1, capture=bool(marks.capture), inject=bool(marks.inject))
            return output

        worker.execute_model = executing


class Waits:
    """Where the host waited for the GPU, with how often: in this project's code, and in vLLM's."""

    def __init__(self) -> None:
        self.ours: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Torch tells each wait meanwhile. Not an error at once: a wait of vLLM's own must not hide ours."""
        if not torch.cuda.is_available():
            yield
            return
        show = warnings.showwarning

        def note(message: Warning | str, *args: Any, **kwargs: Any) -> None:
            if _WAITED in str(message):
                self.note(traceback.extract_stack())
            else:
                show(message, *args, **kwargs)

        with warnings.catch_warnings():
            warnings.filterwarnings("always", message=f".*{_WAITED}")
            warnings.showwarning = note
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode("default")

    def note(self, stack: Sequence[traceback.FrameSummary]) -> None:
        """Count a wait by the innermost place within this project or vLLM: torch's own code is nobody's choice."""
        for frame in reversed(stack):
            filename = frame.filename.replace("\\", "/")
            for counter, packages in ((self.ours, _OURS), (self.others, ("/vllm/",))):
                for package in packages:
                    if package in filename:
                        counter[f"{package[1:]}{filename.rpartition(package)[2]}:{frame.lineno}"] += 1
                        return
        self.others["elsewhere"] += 1
