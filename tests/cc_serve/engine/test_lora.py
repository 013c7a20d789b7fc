"""A LoRA adapter beside the connection equals the two-pass reference on the merged weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedModel

from cc_train.model.adapter import Adapter, merged
from cc_train.model.reference import Reference
from tests.cc_serve.engine.conftest import CHUNK, CONNECTIONS, LENGTHS, Job, prompt, start_engine
from tests.support.tally import TALLY
from tests.support.tiny import random_connection, save_checkpoint, tiny_llama, tiny_model

RANK, SCALE = 4, 2
TARGETS = ("q_proj", "o_proj", "gate_proj", "down_proj", "embed_tokens")


def make_adapter(directory: Path, model: PreTrainedModel) -> Path:
    """Write a random adapter in PEFT's format, and merge it into ``model``."""
    generator = torch.Generator().manual_seed(5)
    tensors = {}
    for name, module in model.named_modules():
        if name.rpartition(".")[2] in TARGETS:
            rows, columns = module.weight.shape
            inner, outer = (torch.randn(*shape, generator=generator) for shape in ((RANK, columns), (rows, RANK)))
            inner, outer = inner * columns**-0.5, outer * 0.1
            key = f"base_model.model.{name}"
            if name.endswith("embed_tokens"):  # PEFT looks the token up in A, which is turned over
                tensors |= {
                    f"{key}.lora_embedding_A": outer.T.contiguous(),
                    f"{key}.lora_embedding_B": inner.T.contiguous(),
                }
            else:
                tensors |= {f"{key}.lora_A.weight": inner, f"{key}.lora_B.weight": outer}
            module.weight.data += SCALE * outer @ inner
    directory.mkdir()
    save_file(tensors, directory / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": SCALE * RANK, "target_modules": list(TARGETS)}
    (directory / "adapter_config.json").write_text(json.dumps(config))
    return directory


@pytest.mark.shows("adapter")
@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Exaone4ForCausalLM", "GraniteForCausalLM"])
def test_requests_with_and_without_an_adapter(architecture: str, tmp_path: Path) -> None:
    """The plain row; a norm behind the block; multipliers of the block's output and of the embedding."""
    from vllm.lora.request import LoRARequest

    connection, plain, merged = random_connection(["global", "sw"]), tiny_model(architecture), tiny_model(architecture)
    checkpoint = save_checkpoint(tmp_path / "base", plain, connection, ["de", "sw"])
    adapter = LoRARequest("adapter", 1, str(make_adapter(tmp_path / "adapter", merged)))
    references = {None: Reference(plain, connection), adapter: Reference(merged, connection)}
    jobs = [
        (Job(prompt(700 + length, length), connection_name), lora)
        for length in LENGTHS
        for connection_name in CONNECTIONS
        for lora in references
    ]
    # vLLM's CPU kernels take the last slot for a request without an adapter: it has to be empty.
    options = {
        "enable_lora": True,
        "max_loras": 2,
        "max_lora_rank": 8,
        "max_num_batched_tokens": CHUNK,
        "max_num_seqs": 16,
    }
    with start_engine(checkpoint, enforce_eager=True, **options) as engine:
        outputs = engine.llm.generate(
            [{"prompt_token_ids": list(job.prompt)} for job, _ in jobs],
            [job.parameters() for job, _ in jobs],
            lora_request=[lora for _, lora in jobs],
            use_tqdm=False,
        )
    differing = 0
    for (job, lora), output in zip(jobs, outputs, strict=True):
        expected = references[lora].generate(job.prompt, job.connection, job.max_tokens).tokens
        assert list(output.outputs[0].token_ids) == expected, (len(job.prompt), job.connection, lora)
        TALLY.count(len(expected))
        differing += expected != references[None].generate(job.prompt, job.connection, job.max_tokens).tokens
    assert differing > len(jobs) / 4  # the adapter does something


@pytest.mark.shows("adapter", "LlamaForCausalLM")
def test_an_adapter_that_cc_train_keeps_beside_its_base(tmp_path: Path) -> None:
    from vllm.lora.request import LoRARequest

    connection = random_connection(["global"])
    checkpoint = save_checkpoint(tmp_path / "base", tiny_llama(), connection, ["de"])
    trained = tiny_llama()
    adapter = Adapter(trained, rank=RANK)
    generator = torch.Generator().manual_seed(5)
    for name, weight in trained.named_parameters():
        if "lora_B" in name:  # an untrained one is zero
            weight.data.normal_(std=0.1, generator=generator)
    adapter.save(trained.state_dict(), tmp_path / "adapter")
    reference = Reference(merged(tiny_llama(), tmp_path / "adapter"), connection)
    jobs = [Job(prompt(900 + length, length), name) for length in LENGTHS[:3] for name in (None, "global")]
    options = {"enable_lora": True, "max_loras": 2, "max_lora_rank": 8, "max_num_batched_tokens": CHUNK}
    with start_engine(checkpoint, enforce_eager=True, **options) as engine:
        outputs = engine.llm.generate(
            [{"prompt_token_ids": list(job.prompt)} for job in jobs],
            [job.parameters() for job in jobs],
            lora_request=LoRARequest("adapter", 1, str(tmp_path / "adapter")),
            use_tqdm=False,
        )
    plain = Reference(tiny_llama(), connection)
    for job, output in zip(jobs, outputs, strict=True):
        expected = reference.generate(job.prompt, job.connection, job.max_tokens).tokens
        assert list(output.outputs[0].token_ids) == expected, (len(job.prompt), job.connection)
        assert expected != plain.generate(job.prompt, job.connection, job.max_tokens).tokens, "it does something"
