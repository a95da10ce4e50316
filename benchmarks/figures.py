"""Takes paired seconds, gives rows: a figure, the promise it is held against if any, and whether that is kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `at_most` False means it must reach `promise` instead of staying below; None: nothing is promised."""

    name: str
    figure: float
    promise: float | None
    at_most: bool
    detail: str
    samples: int

    @property
    def kept(self) -> bool | None:
        if self.promise is None:
            return None
        return self.figure <= self.promise if self.at_most else self.figure >= self.promise


def ratio_row(name: str, promise: float | None, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """The median of the pairwise ratios: what slows the machine for a while slows both halves of a pair."""
    figure = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{seconds_text(median(ours))} against {seconds_text(median(theirs))}"
    return Row(name, figure, promise, True, detail, len(ours))


def speedup_row(name: str, promise: float, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """Pictures a second, ours over theirs."""
    figure = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours):.3f} against {median(theirs):.3f} pictures/s"
    return Row(name, figure, promise, False, detail, len(ours))


def p99_row(name: str, promise: float, seconds: Sequence[float]) -> Row:
    p99 = quantiles(seconds, n=100)[98]
    return Row(
        name, p99, promise, True, f"median {median(seconds) * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms", len(seconds)
    )


def seconds_row(name: str, promise: float | None, seconds: Sequence[float]) -> Row:
    """The median."""
    detail = f"{seconds_text(min(seconds))} to {seconds_text(max(seconds))}"
    return Row(name, median(seconds), promise, True, detail, len(seconds))


def seconds_text(seconds: float) -> str:
    return f"{seconds:.3f} s" if seconds >= 0.1 else f"{seconds * 1000:.2f} ms"


def taken(rows: Iterable[Row]) -> list[Row]:
    """All of them, each told as soon as it is known."""
    found = []
    for row in rows:
        print(f"{row.name}: {row.figure:.3f} ({row.detail})", flush=True)
        found.append(row)
    return found


def publish(rows: Sequence[Row], machine: dict[str, Any], file_name: str) -> None:
    """A table for the terminal and a JSON file for the record."""
    table = Table("what", "figure", "promise", "kept", "medians", "samples", title=f"on {machine['device']}")
    for row in rows:
        promise = "" if row.promise is None else f"{'<=' if row.at_most else '>='} {row.promise:g}"
        kept = {True: "yes", False: "NO", None: ""}[row.kept]
        table.add_row(row.name, f"{row.figure:.3f}", promise, kept, row.detail, str(row.samples))
    Console(width=160).print(table)
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": machine, "rows": [{**asdict(row), "kept": row.kept} for row in rows]}
    (RESULTS / file_name).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
