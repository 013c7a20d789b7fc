"""A collector of OpenTelemetry traces, as vLLM exports them: OTLP over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as service


class Collector(service.TraceServiceServicer):
    """Keeps the spans that it is sent, and the ``address`` that takes them."""

    def __init__(self) -> None:
        self.address = ""
        self.spans: list[Any] = []

    def Export(self, request: Any, context: Any) -> Any:
        self.spans += [
            span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        return messages.ExportTraceServiceResponse()


@contextmanager
def collecting() -> Iterator[Collector]:
    """A running collector on a free port."""
    server = grpc.server(ThreadPoolExecutor(1))
    collector = Collector()
    service.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield collector
    finally:
        server.stop(None)
