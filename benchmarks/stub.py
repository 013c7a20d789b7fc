"""vLLM's own HTTP application over an engine that answers at once: what is left is the front end's cost."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import AsyncGenerator, MutableSequence
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from vllm.entrypoints.launchers.launcher import NoSignalServer
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest, ChatCompletionResponse
from vllm.entrypoints.serve.engine.protocol import UsageInfo
from vllm.outputs import CompletionOutput
from vllm.v1.metrics.stats import RequestStateStats

from cc_serve.api.arguments import parse_arguments
from cc_serve.api.composition import Parts, add_endpoints_and_middleware
from cc_serve.api.connections import Connections, Served
from cc_serve.api.drain import Drain
from cc_serve.api.served_engine import ServedEngine
from cc_serve.api.tenants.memory import MemoryLimiter
from cc_serve.api.tenants.shared import SharedLimiter
from cc_serve.api.tenants.store import Store
from cc_serve.api.tenants.tenancy import Tenancy
from cc_serve.api.vllm import RequestOutput, RequestOutputKind, SamplingParams, build_app
from cc_serve.config.settings import LiveSettings
from cc_serve.routing.router import default_router

PATH = "/v1/chat/completions"
CHUNKS = 16


class StubEngine:
    """Gives every prompt the same answer, in pieces or whole."""

    async def generate(
        self, prompt: object, sampling_params: SamplingParams, request_id: str
    ) -> AsyncGenerator[RequestOutput, None]:
        tokens = sampling_params.max_tokens or CHUNKS
        pieces = tokens if sampling_params.output_kind == RequestOutputKind.DELTA else 1
        times = RequestStateStats(num_generation_tokens=tokens, first_token_latency=0.01, last_token_ts=1.0)
        for piece in range(pieces):
            answer = CompletionOutput(0, " word" * (tokens // pieces), [1] * (tokens // pieces), None, None)
            yield RequestOutput(request_id, None, [1] * 8, None, [answer], piece == pieces - 1, metrics=times)


class StubChat:
    """Stands in for vLLM's `OpenAIServingChat`, behind its endpoint."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    async def create_chat_completion(self, request: ChatCompletionRequest, raw_request: object) -> Any:
        kind = RequestOutputKind.DELTA if request.stream else RequestOutputKind.FINAL_ONLY
        tokens = request.max_tokens or CHUNKS
        parameters = SamplingParams(output_kind=kind, max_tokens=tokens, extra_args=request.vllm_xargs)
        outputs = self.engine.generate("prompt", parameters, request.request_id)
        if request.stream:
            return self._chunks(request, outputs)
        async for output in outputs:
            text = output.outputs[0].text
        message = {"role": "assistant", "content": text}
        choice: Any = {"index": 0, "message": message, "finish_reason": "stop"}
        return ChatCompletionResponse(model="stub", choices=[choice], usage=UsageInfo(prompt_tokens=8, total_tokens=24))

    async def _chunks(
        self, request: ChatCompletionRequest, outputs: AsyncGenerator[RequestOutput, None]
    ) -> AsyncGenerator[str, None]:
        head = f'{{"id":"{request.request_id}","object":"chat.completion.chunk","created":{int(time.time())}'
        async for output in outputs:
            delta = f'{{"content":"{output.outputs[0].text}"}}'
            yield f'data: {head},"model":"stub","choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}\n\n'
        yield "data: [DONE]\n\n"


def stub_app(*, ours: bool, configuration: Path | None = None) -> FastAPI:
    """The application, with or without this server's endpoints and middleware.

    Args:
        ours: whether with them.
        configuration: the file of ``--cc-config``.
    """
    arguments = parse_arguments([tempfile.mkdtemp()])
    app = build_app(arguments, ("generate",), None)
    engine: Any = StubEngine()
    router, drain = default_router(), Drain()
    if ours:
        engine = ServedEngine(engine, Connections(Served(router)), drain)
    app.state.openai_serving_chat = StubChat(engine)
    app.state.engine_client = engine
    app.state.log_stats = False
    if ours:
        settings = LiveSettings(configuration, router, {})
        store = settings.current.store
        tenancy = Tenancy(SharedLimiter(Store(store)) if store else MemoryLimiter())
        add_endpoints_and_middleware(app, Parts(settings=settings, drain=drain, tenancy=tenancy))
    else:
        app.middleware_stack = app.build_middleware_stack()
    return app


def serve(port: int, ours: bool, configuration: Path | None = None) -> None:
    """Serve it as vLLM would; for a process of its own."""
    import uvicorn
    import uvloop

    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    config = uvicorn.Config(
        stub_app(ours=ours, configuration=configuration), port=port, log_level="error", access_log=False, loop="uvloop"
    )
    uvloop.run(uvicorn.Server(config).serve())


def serve_shared(sock: socket.socket, loads: MutableSequence[int], index: int) -> None:
    """The same beside other processes on one socket, as ``--api-server-count`` does."""
    import uvicorn
    import uvloop

    os.environ["VLLM_LOGGING_LEVEL"] = "ERROR"
    config = uvicorn.Config(stub_app(ours=True), log_level="error", access_log=False, loop="uvloop")
    uvloop.run(NoSignalServer(config, (loads, index)).serve([sock]))
