"""The moment from which one process of a parallel job works alone."""

from __future__ import annotations

from torch import distributed


def leave_group() -> None:
    """Take this process out of its group. Every process must call this, and each waits for the others.

    Afterwards the first process fits and saves, and the others end. A process that ended as a member of the group might
    be aborted while C++ destroys the group's threads, and the launcher would then stop the first process, too.
    """
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
