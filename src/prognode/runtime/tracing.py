"""Traces through OpenTelemetry, when OTEL_EXPORTER_OTLP_ENDPOINT names where they go; else nothing, at no cost.

A trace begins with an association and ends with the delivered report: the context travels in ``Event.traceparent``.
Attributes are case ids and our own words, nothing of a patient.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_tracer: Any = None
_provider: Any = None


def configure(service: str) -> None:
    """Begin to trace, if the environment says where to; ``service`` is its name unless OTEL_SERVICE_NAME gives one."""
    global _provider, _tracer  # noqa: PLW0603 - one process, one tracer
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    name = os.environ.get("OTEL_SERVICE_NAME") or f"prognode-{service}"
    _provider = TracerProvider(resource=Resource.create({"service.name": name}))
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = _provider.get_tracer("prognode")


def flush() -> None:
    """Send what is still here."""
    if _provider is not None:
        _provider.force_flush(5000)


@contextmanager
def span(name: str, parent: str = "", **attributes: str | int) -> Iterator[None]:
    """A span around some work: under ``parent`` (a traceparent) if there is one, else under the current one."""
    if _tracer is None:
        yield
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    with _tracer.start_as_current_span(name, context=context, record_exception=False) as current:
        for key, value in attributes.items():
            current.set_attribute(f"prognode.{key}", value)
        yield


class OpenSpan:
    """A span that begins in one call and ends in another, such as an association."""

    def __init__(self, name: str) -> None:
        self.traceparent = ""
        """Its context, for what belongs under it."""
        self._span = None if _tracer is None else _tracer.start_span(name)
        if self._span is not None:
            from opentelemetry.trace import use_span

            with use_span(self._span):
                self.traceparent = traceparent()

    def end(self) -> None:
        """It is over."""
        if self._span is not None:
            self._span.end()


def traceparent() -> str:
    """The context of the current span, as W3C writes it; empty where nothing is traced."""
    if _tracer is None:
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent", "")
