"""The end of a parallel job's common work."""

from __future__ import annotations

from torch import distributed


def part() -> None:
    """Leave the group of processes, all at the same moment. The first goes on alone, and the others end.

    A process that ends as a member may be aborted while C++ destroys the group's threads. Its launcher would then stop
    the first process, which still fits and saves.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
