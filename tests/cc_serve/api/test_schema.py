"""schemathesis over the OpenAPI description: requests that it allows, and requests that it does not.

What this project adds passes every check. vLLM's own operations are described less exactly than they answer; which
checks each fails is listed here, and nothing else may fail.
"""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

from tests.support.server import MODEL, Server

EXAMPLES = 12
# It would scale the engine of the server under test.
LEFT_OUT = "/scale_elastic_ep"
OURS = {
    "GET /live",
    "GET /ready",
    "POST /v1/route",
    "GET /v1/languages",
    "GET /v1/layers",
    "POST /admin/reload",
    "GET /admin/usage",
}
# Which requests vLLM's validators refuse, and what a text that reads as a number is taken for, no schema says.
UNSAID = {"RejectedPositiveData", "AcceptedNegativeData"}
VLLMS_OWN = {
    **dict.fromkeys(
        [
            *("POST /tokenize", "POST /detokenize", "POST /invocations", "POST /v1/chat/completions"),
            *("POST /v1/chat/completions/batch", "POST /v1/responses", "POST /v1/completions", "POST /v1/messages"),
            *("POST /v1/messages/count_tokens", "POST /generative_scoring"),
        ],
        UNSAID,
    ),
    "GET /v1/responses/{response_id}": {"UndefinedStatusCode"},
    "POST /v1/responses/{response_id}/cancel": {"UndefinedStatusCode"},
    # It needs a kind of model that this is not, and says so with status 500.
    "POST /v1/systemone": UNSAID | {"ServerError"},
}


@pytest.fixture(scope="module")
def schema(server: Server) -> Any:
    return schemathesis.openapi.from_dict(server.http.get("/openapi.json").json()).exclude(path=LEFT_OUT)


def failures(operation: Any, mode: GenerationMode, address: str) -> dict[str, str]:
    """The checks that some request to an operation failed, and what was said of one."""
    found: dict[str, str] = {}

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def send(case: schemathesis.Case) -> None:
        if isinstance(case.body, dict) and "model" in case.body:
            # Of the tiny model and short: what is tested is the front end.
            case.body |= {"model": MODEL, "max_tokens": 1, "max_completion_tokens": 1, "max_output_tokens": 1}
        try:
            case.call_and_validate(address, timeout=60)
        except FailureGroup as group:
            found.update({type(failure).__name__: str(failure) for failure in group.exceptions})

    try:
        send()
    except Unsatisfiable:  # nothing that this operation takes could be wrong
        return {}
    return found


def test_operations(server: Server, schema: Any) -> None:
    found = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        found[operation.label] = {}
        for mode in GenerationMode:
            found[operation.label] |= failures(operation, mode, server.address)
    assert found.keys() >= OURS
    defects = {
        f"{label}: {check}": said
        for label, checks in found.items()
        for check, said in checks.items()
        if check not in VLLMS_OWN.get(label, set())
    }
    assert defects == {}
