"""The audit log's health as metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sdxl_gateway.telemetry.audit.writer import AuditHealth
from sdxl_gateway.telemetry.instruments import NAMESPACE


class AuditCollector(Collector):
    """Asks `health` at each scrape; without an audit log it is healthy and empty."""

    def __init__(self) -> None:
        self.health: Callable[[], AuditHealth] = AuditHealth

    def describe(self) -> Iterator[Metric]:
        yield from self.collect()

    def collect(self) -> Iterator[Metric]:
        now = self.health()
        name = f"{NAMESPACE}_audit"
        yield GaugeMetricFamily(f"{name}_failing", "1 while the audit log cannot be written.", value=now.failing)
        yield GaugeMetricFamily(
            f"{name}_lines_waiting", "Lines held in memory until they are written.", value=now.waiting
        )
        yield CounterMetricFamily(f"{name}_lines_lost", "Lines that no memory could hold.", value=now.lost)
