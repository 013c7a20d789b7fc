"""vLLM's own application with this server's endpoints and middleware around it, without an engine."""

from __future__ import annotations

import os
from pathlib import Path
from unittest import mock

from fastapi import FastAPI

from cc_serve.api.arguments import parse_arguments, take_keys
from cc_serve.api.composition import Parts, add_endpoints_and_middleware
from cc_serve.api.vllm import build_app
from cc_serve.config.keys import hash_key
from cc_serve.config.settings import LiveSettings


def make_app(settings: LiveSettings, checkpoint: Path, *flags: str) -> FastAPI:
    """The application with all routes that vLLM has, those for development included."""
    with mock.patch.dict(os.environ, VLLM_SERVER_DEV_MODE="1"):
        arguments = parse_arguments([str(checkpoint), *flags])
        settings.give(take_keys(arguments))
        app = build_app(arguments, ("generate",), None)
    app.state.engine_client = mock.AsyncMock()
    add_endpoints_and_middleware(app, Parts(settings=settings))
    return app


def write_keys(path: Path) -> Path:
    """A configuration file with the keys ``ops``, an admin's, and ``user``, and with open metrics."""
    path.write_text(f"""
        keys: {{ops: {{sha256: {hash_key("ops")}, admin: true}}, user: {{sha256: {hash_key("user")}}}}}
        open_paths: [/metrics]
    """)
    return path
