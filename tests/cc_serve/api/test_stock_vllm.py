"""Stock vLLM over a CC-Tuned checkpoint: the plugin makes connections there too, for requests that name theirs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import openai
import pytest

from cc_train.model.reference import Reference
from tests.support.server import MODEL, Server, started_vllm

LENGTH = 12


@pytest.fixture(scope="module")
def stock(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started_vllm(checkpoint, tmp_path_factory.mktemp("stock-vllm") / "server.log") as running:
        yield running


@pytest.mark.parametrize("connection", [None, "global", "de"])
def test_a_request_names_its_connection(stock: Server, checkpoint: Path, connection: str | None) -> None:
    arguments = {"cc_connection": connection} if connection else None
    completion = stock.client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": "Wo ist der Bahnhof?"}],
        max_tokens=LENGTH,
        temperature=0,
        extra_body={"return_token_ids": True, "ignore_eos": True, "vllm_xargs": arguments},
    )
    expected = Reference.from_checkpoint(checkpoint).generate(completion.prompt_token_ids, connection, LENGTH)
    assert completion.choices[0].token_ids == expected.tokens
    report = connection and {"cc_connection": {"name": connection, "layer": expected.layer, "captures": 1}}
    assert completion.kv_transfer_params == report


def test_a_connection_that_does_not_exist(stock: Server) -> None:
    with pytest.raises(
        openai.BadRequestError, match="'xx' is not one of this checkpoint's connections: global, de"
    ) as error:
        stock.client.completions.create(
            model=MODEL, prompt="Wo?", max_tokens=1, extra_body={"vllm_xargs": {"cc_connection": "xx"}}
        )
    assert error.value.param == "cc_connection"
