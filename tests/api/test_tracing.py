"""W3C trace context: a caller's trace goes on in the spans that a server sends to its collector."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue

import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.api.replicas import Replica

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECONDS = 20.0


class Collector(ThreadingHTTPServer):
    """What OTLP/HTTP sends, in the order of its arrival."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans: Queue[Span] = Queue()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.server.spans.put(span)
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_: object) -> None:
        """Nothing is said of a request."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("traced")
    server = Replica(f"sqlite:///{folder / 'catalog.db'}")
    server.environment |= {
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.address}/v1/traces",
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_TRACES_SAMPLER": "parentbased_always_off",
    }
    try:
        server.start()
        yield f"http://127.0.0.1:{server.port}"
    finally:
        server.kill()


def served(collector: Collector) -> Span:
    """The span of a request; those inside it are not looked at."""
    while True:
        span = collector.spans.get(timeout=SECONDS)
        if span.kind == Span.SPAN_KIND_SERVER:
            return span


@pytest.mark.parametrize(
    ("body", "status"),
    [({"model": {"kind": "size", "parameters": 10**9}}, 200), ({"model": 3}, 422)],
    ids=["answered", "refused"],
)
def test_a_trace_goes_on_under_the_callers_span(
    collector: Collector, traced: str, body: object, status: int
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    answer = httpx.post(f"{traced}/estimate", json=body, headers=headers)
    assert answer.status_code == status
    span = served(collector)
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, CALLER)
    found = {each.key: each.value for each in span.attributes}
    assert found["http.route"].string_value == "/estimate"
    assert found["http.response.status_code"].int_value == status


def test_a_trace_that_its_caller_does_not_record_is_not_sent(
    collector: Collector, traced: str
) -> None:
    for sampled in ("00", "01"):
        headers = {"traceparent": f"00-{sampled * 16}-{CALLER}-{sampled}"}
        httpx.get(f"{traced}/livez", headers=headers)
    assert served(collector).trace_id.hex() == "01" * 16
