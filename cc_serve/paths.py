"""Paths of requests: which of them generate text, and which of these a connection reaches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # so that the settings can be read where no server is installed
    from starlette.types import Scope

#: Anthropic's API.
MESSAGES_PATH: Final = "/v1/messages"
#: The endpoints whose ``vllm_xargs`` reach the engine.
CONNECTED_PATHS: Final = frozenset(
    {"/v1/chat/completions", "/v1/completions", "/v1/responses", MESSAGES_PATH, "/invocations"}
)
BATCH_PATH: Final = "/v1/chat/completions/batch"
#: The other endpoints that generate text from a prompt.
PLAIN_PATHS: Final = frozenset({BATCH_PATH, "/cohere/v2/chat", "/generative_scoring", "/v1/systemone"})
#: The endpoints whose answers can tell what the connection did.
DETAILED_PATHS: Final = frozenset({"/v1/chat/completions", "/v1/completions"})
#: vLLM's endpoints that count and show tokens.
TOKENIZING_PATHS: Final = frozenset({"/tokenize", "/detokenize", "/v1/messages/count_tokens"})
#: All endpoints that generate text.
GENERATING_PATHS: Final = CONNECTED_PATHS | PLAIN_PATHS
#: The methods of requests that change nothing.
READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def route_path(scope: Scope) -> str:
    """The path that Starlette's router matches: the request's path without the root path of the server."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    return path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else path


def generating_path(scope: Scope) -> str | None:
    """The path of a generation request, without the root path; None if the request generates nothing."""
    return posted_path(scope, GENERATING_PATHS)


def posted_path(scope: Scope, paths: frozenset[str]) -> str | None:
    """The path of a POST to one of ``paths``, without the root path; None for all other requests."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    path = route_path(scope)
    return path if path in paths else None
