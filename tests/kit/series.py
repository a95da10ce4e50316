"""All time series in the server's metrics, by name, with their labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, Info

from sdxl_gateway.telemetry.gpu_collector import GpuCollector
from sdxl_gateway.telemetry.instruments import Instruments
from sdxl_gateway.telemetry.metrics import Metrics


def series() -> dict[str, set[str]]:
    """The name of every series, with its labels, as the code declares them."""
    made = Instruments.in_registry(CollectorRegistry())
    flat = [getattr(made, field.name) for field in fields(Instruments)]
    found = dict(
        pair for one in flat for each in (one.values() if isinstance(one, dict) else (one,)) for pair in _of(each)
    )
    collected = [*GpuCollector().describe(), *Metrics([], 1).registry.collect()]
    for family in collected:
        labels = {name for sample in family.samples for name in sample.labels} | set(getattr(family, "_labelnames", ()))
        found.setdefault(family.name + ("_total" if family.type == "counter" else ""), labels)
    return found


def _of(one: Any) -> Iterator[tuple[str, set[str]]]:
    name, labels = one._name, set(one._labelnames)
    match one:
        case Histogram():
            yield from ((f"{name}_sum", labels), (f"{name}_count", labels), (f"{name}_bucket", labels | {"le"}))
        case Counter():
            yield f"{name}_total", labels
        case Info():
            yield f"{name}_info", labels | {"version"}
        case _:
            yield name, labels
