"""Measures this checkout against another one, in one run: `make bench-against OTHER=FOLDER`.

Both paint the same orders in turn, as ratios of seconds (below 1 this one is faster) or of pictures a second (above 1).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import httpx

from benchmarks.figures import RESULTS, Row, ratio_row, speedup_row, taken
from benchmarks.machine import describe_machine
from benchmarks.painting import REQUEST_SECONDS, STEPS, Order, timed_request
from benchmarks.servers import gateway
from benchmarks.traffic import FEW_STEPS, FOUR_BLENDS, crowd, evenly, zipf

THREADS = 1
PAIRS = 24
ROUNDS = 5
PICTURES = 24
NOISE = 0.03
"""Two runs of one commit differ by less than this."""


def sequential_rows(ours: httpx.Client, theirs: httpx.Client, count: int) -> Iterator[Row]:
    """One picture after another: plain, with a blend on, and with a switch before each."""
    for name, models in (
        ("a picture", ("demo",)),
        ("a picture with a blend on", FOUR_BLENDS[3:]),
        ("a picture after a switch", FOUR_BLENDS),
    ):
        orders = [Order(models[seed % len(models)], seed) for seed in range(count)]
        for client in (ours, theirs):
            timed_request(client, orders[0])
        pairs = [_pair(ours, theirs, order) for order in orders]
        yield ratio_row(name, 1 + NOISE, [a for a, _ in pairs], [b for _, b in pairs])


def _pair(ours: httpx.Client, theirs: httpx.Client, order: Order) -> tuple[float, float]:
    """Seconds of each; either goes first as often as the other."""
    if order.seed % 2:
        return timed_request(ours, order), timed_request(theirs, order)
    seconds = timed_request(theirs, order)
    return timed_request(ours, order), seconds


def crowd_rows(ours: str, theirs: str) -> Iterator[Row]:
    """Eight clients at once, on four blends and on twenty."""
    for steps in (STEPS, FEW_STEPS):
        for name, streams in (
            ("4 blends", [evenly(steps, PICTURES)] * ROUNDS),
            ("20 blends", [zipf(steps, PICTURES, seed) for seed in range(ROUNDS)]),
        ):
            pairs = [(crowd(ours, orders), crowd(theirs, orders)) for orders in streams]
            title = f"8 clients, {name}, {steps} steps: pictures/s"
            yield speedup_row(title, 1 - NOISE, [a for a, _ in pairs], [b for _, b in pairs])


def measure(other: Path, pairs: int = PAIRS) -> Iterator[Row]:
    """Each row as soon as it is known."""
    with gateway(THREADS) as ours, gateway(THREADS, other.resolve()) as theirs:
        with (
            httpx.Client(base_url=ours, timeout=REQUEST_SECONDS) as one,
            httpx.Client(base_url=theirs, timeout=REQUEST_SECONDS) as two,
        ):
            yield from sequential_rows(one, two, pairs)
        yield from crowd_rows(ours, theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other", type=Path, help="a folder with another checkout")
    parser.add_argument("--rows", type=int, help="so many of the first rows only")
    parser.add_argument("--pairs", type=int, default=PAIRS, help="pictures of each side, one after another")
    asked = parser.parse_args()
    rows = taken(islice(measure(asked.other, asked.pairs), asked.rows))
    told = [{**asdict(row), "kept": row.kept} for row in rows]
    record = {"machine": describe_machine(THREADS), "other": asked.other.name, "rows": told}
    (RESULTS / "against.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
