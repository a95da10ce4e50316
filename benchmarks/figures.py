"""Takes paired seconds, gives rows: a figure, the promise it is held against, and whether it keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One promise. `at_most` False means the figure must reach `promise` instead of staying below."""

    name: str
    figure: float
    promise: float
    at_most: bool
    detail: str
    samples: int

    @property
    def kept(self) -> bool:
        return self.figure <= self.promise if self.at_most else self.figure >= self.promise


def ratio_row(name: str, promise: float, ours: Sequence[float], theirs: Sequence[float]) -> Row:
    """The median of the pairwise ratios: what slows the machine for a while slows both halves of a pair."""
    figure = median(a / b for a, b in zip(ours, theirs, strict=True))
    detail = f"{median(ours):.3f} s against {median(theirs):.3f} s"
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


def publish(rows: Sequence[Row], machine: dict[str, Any], file_name: str) -> None:
    """A table for the terminal and a JSON file for the record."""
    table = Table("what", "figure", "promise", "kept", "medians", "samples")
    for row in rows:
        sign, kept = ("<=" if row.at_most else ">="), ("yes" if row.kept else "NO")
        table.add_row(row.name, f"{row.figure:.3f}", f"{sign} {row.promise:g}", kept, row.detail, str(row.samples))
    Console(width=140).print(table)
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": machine, "rows": [{**asdict(row), "kept": row.kept} for row in rows]}
    (RESULTS / file_name).write_text(json.dumps(record, indent=2) + "\n", "utf-8")
