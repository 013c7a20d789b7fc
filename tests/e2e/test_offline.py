"""vLLM's own ``LLM`` on real weights of the Llama family: the documented example, chats and tools."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from cc_core.checkpoint import save_connection
from cc_core.connection import Connection
from cc_core.names import GLOBAL
from cc_train.model.base_models import make_base
from cc_train.model.reference import Reference
from tests.cc_serve.engine.conftest import start_engine

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.entrypoints.chat_utils import ChatCompletionMessageParam

LAYERS, HIDDEN = 30, 576
LENGTH = 8
QUESTIONS = ("Mji mkuu wa Kenya ni upi?", "Wer hat das Buch Faust geschrieben?")
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
# The model's own template knows no tools.
TOOL_TEMPLATE = """\
<|im_start|>system
You may call these tools: {{ tools | tojson }}<|im_end|>
{% for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
DOCUMENTED = re.compile(r"```python\n(from vllm import LLM.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2 with a connection that was not trained, but changes answers."""
    directory = tmp_path_factory.mktemp("offline") / "smollm2"
    assert make_base("smollm2-135m", directory)
    generator = torch.Generator().manual_seed(0)
    transform = torch.eye(HIDDEN) + torch.randn(HIDDEN, HIDDEN, generator=generator) / HIDDEN**0.5
    connection = Connection(torch.randn(LAYERS, HIDDEN, generator=generator), {GLOBAL: transform})
    save_connection(directory, connection, ["de", "fr", "sw"])
    return directory


@pytest.fixture(scope="module")
def llm(checkpoint: Path) -> Iterator[LLM]:
    with start_engine(checkpoint, enforce_eager=True, max_model_len=512, skip_tokenizer_init=False) as engine:
        yield engine.llm


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> Reference:
    return Reference.from_checkpoint(checkpoint)


@pytest.mark.parametrize("tools", [None, [TOOL]], ids=["plain", "tools"])
def test_chats_equal_the_reference(llm: LLM, reference: Reference, tools: list[dict[str, object]] | None) -> None:
    from vllm import SamplingParams

    template = TOOL_TEMPLATE if tools else None
    conversations: list[list[ChatCompletionMessageParam]] = [
        [{"role": "user", "content": question}] for question in QUESTIONS
    ]
    first = conversations[0]
    conversations.append(
        [*first, {"role": "assistant", "content": "Nairobi."}, {"role": "user", "content": "Na Uganda?"}]
    )
    changed = 0
    for connection in (None, GLOBAL):
        arguments = {"cc_connection": connection} if connection else None
        parameters = SamplingParams(temperature=0, max_tokens=LENGTH, ignore_eos=True, extra_args=arguments)
        outputs = llm.chat(conversations, parameters, tools=tools, chat_template=template, use_tqdm=False)
        for output in outputs:
            prompt = output.prompt_token_ids
            assert prompt is not None
            expected = reference.generate(prompt, connection, LENGTH)
            assert list(output.outputs[0].token_ids) == expected.tokens
            changed += bool(connection) and expected.tokens != reference.generate(prompt, None, LENGTH).tokens
            assert not tools or "get_weather" in (output.prompt or "")
    assert changed


def test_the_documented_example(
    llm: LLM, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    match = DOCUMENTED.search(Path("docs/engine.md").read_text("utf-8"))
    assert match
    example = match[1]
    assert len(example.splitlines()) <= 10
    monkeypatch.setattr("vllm.LLM", lambda model: llm)  # the engine that runs here already
    example = example.replace("outputs/demo", str(checkpoint))
    exec(compile(example, "docs/engine.md", "exec"), {"__name__": "__main__"})
    assert "'name': 'global'" in capsys.readouterr().out
