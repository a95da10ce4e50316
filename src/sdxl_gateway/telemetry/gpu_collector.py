"""Metrics of each NVIDIA GPU, from its driver; none without a driver."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sdxl_gateway.telemetry.device import read_gpus
from sdxl_gateway.telemetry.instruments import NAMESPACE


class GpuCollector(Collector):
    """Reads the driver at each scrape rather than on a timer."""

    def describe(self) -> Iterator[Metric]:
        yield from _families()

    def collect(self) -> Iterator[Metric]:
        used, total, busy, celsius = _families()
        for gpu in read_gpus():
            label = [str(gpu.index)]
            used.add_metric(label, gpu.memory_used_bytes)
            total.add_metric(label, gpu.memory_total_bytes)
            busy.add_metric(label, gpu.utilization_ratio)
            celsius.add_metric(label, gpu.celsius)
        yield from (family for family in (used, total, busy, celsius) if family.samples)


def _families() -> tuple[GaugeMetricFamily, ...]:
    return (
        GaugeMetricFamily(f"{NAMESPACE}_gpu_memory_used_bytes", "GPU memory in use, by anybody.", labels=["gpu"]),
        GaugeMetricFamily(f"{NAMESPACE}_gpu_memory_size_bytes", "GPU memory there is.", labels=["gpu"]),
        GaugeMetricFamily(f"{NAMESPACE}_gpu_utilization_ratio", "Share of time the GPU was busy.", labels=["gpu"]),
        GaugeMetricFamily(f"{NAMESPACE}_gpu_temperature_celsius", "How hot the GPU is.", labels=["gpu"]),
    )
