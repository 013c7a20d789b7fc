"""``cc-train`` as one process of a parallel job on the CPU, with what differs between numbers of processes taken out.

- The choice is made without noise: processes draw their own.
- accelerate shards on accelerators only, though torch shards on a CPU too: it is told to.

``STOP_AT`` names a step in which the last process, and no other, gets SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import torch
from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType
from transformers import Trainer

import cc_train.two_pass.model
from cc_train.commands.main import main


def without_noise(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    soft = (logits / temperature).softmax(dim=-1)
    hard = torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).float()
    return hard - soft.detach() + soft


def shard_on_the_cpu() -> None:
    original = AcceleratorState.__init__

    def init(self: Any, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        original(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = init


def stop_at(step: int) -> None:
    original = Trainer.training_step

    def training_step(self: Trainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        if self.state.global_step + 1 == step and self.args.process_index == self.args.world_size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *args, **kwargs)

    Trainer.training_step = training_step


if __name__ == "__main__":
    torch.set_num_threads(1)
    cc_train.two_pass.model.sample_layer = without_noise
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        shard_on_the_cpu()
    if "STOP_AT" in os.environ:
        stop_at(int(os.environ["STOP_AT"]))
    sys.exit(main(sys.argv[1:]))
