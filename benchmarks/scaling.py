"""Takes a number of cards and blends, gives tables of what the product's dispatch makes of them, beside other policies.

`python -m benchmarks.scaling --cards 1000 --blends 5000 --write` renews the tables of docs/SCALING.md; without a GPU,
since all cards are simulated (benchmarks/fleet/).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.orders import Traffic, orders
from benchmarks.fleet.outcome import Outcome, quantile
from benchmarks.fleet.policies import Policy, at_random, by_hash, least_wait, ours, round_robin

DOCS = Path(__file__).parents[1] / "docs" / "SCALING.md"
BEGIN, END = "<!-- benchmarks.scaling: begin -->", "<!-- benchmarks.scaling: end -->"
LOAD = 0.9
SEED = 1
DEATHS_PER_CARD_HOUR = 1.0
SCALED_ABOVE_SECONDS = 0.9
WARM_UP = 0.25
"""Of the time; jobs that arrive then do not count."""
TIDE = 6
"""Times as long as the other rows: it takes a card 45 s to come."""
FEW = ("ours", "least wait", "random")
HEAD = (
    "| policy | in time | refused | p50 s | p95 s | p95 wait s | warm | switches a picture | fairness"
    " | $ on demand | $ spot |",
    "| --- |" + " --: |" * 10,
)
POLICIES: dict[str, Callable[[], Policy]] = {
    "ours": lambda: ours,
    "least wait": lambda: least_wait,
    "hash of the blend": lambda: by_hash,
    "round robin": round_robin,
    "random": lambda: at_random(SEED),
}


def main() -> None:
    """Prints the tables as they come."""
    asked = _arguments()
    traffic = Traffic(asked.cards, asked.blends, LOAD)
    lines = []
    for line in tables(traffic, asked.seconds, asked.on_demand, asked.spot):
        print(line, flush=True)
        lines.append(line)
    if asked.write:
        text = DOCS.read_text("utf-8")
        found = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
        renewed = "\n".join([BEGIN, *lines, END])
        DOCS.write_text(found.sub(lambda _: renewed, text), "utf-8")


def tables(traffic: Traffic, seconds: float, on_demand: float, spot: float) -> Iterator[str]:
    """Four: one checkpoint for all, three, three in rough weather, and a load that rises and falls."""

    def row(name: str, outcome: Outcome) -> str:
        return _row(name, outcome, outcome.cost_per_thousand(on_demand), outcome.cost_per_thousand(spot))

    about = f"{traffic.cards} cards, {traffic.blends} blends, load {traffic.load:g}, {seconds * (1 - WARM_UP):g} s"
    yield from _head(f"**One checkpoint**: {about} after a third of that to warm up.")
    for name in FEW:
        yield row(name, run(replace(traffic, checkpoints=1), seconds, POLICIES[name]()))
    yield from _head("**Three checkpoints**, of which a card holds one, and takes 2 s to bring another.")
    for name, policy in POLICIES.items():
        yield row(name, run(traffic, seconds, policy()))
    death_every = 3600 / (DEATHS_PER_CARD_HOUR * traffic.cards)
    yield from _head(
        f"**Rough**: bursts of 1.5 times as much; each card dies once an hour, one every {death_every:g} s."
    )
    for name in FEW:
        yield row(name, run(replace(traffic, burst=1.5), seconds, POLICIES[name](), death_every=death_every))
    tide = replace(traffic, load=traffic.load / 1.6, swing=0.6)
    yield from _head(f"**Tide**: the load rises from {tide.load * 0.4:.2f} to {traffic.load:g} and falls again.")
    yield row("ours, all cards", run(tide, seconds * TIDE, ours))
    yield row("ours, scaled by predicted wait", run(tide, seconds * TIDE, ours, scaled=SCALED_ABOVE_SECONDS))


def run(traffic: Traffic, seconds: float, policy: Policy, *, death_every: float = 0.0, scaled: float = 0.0) -> Outcome:
    """One fleet, cold at its start; the same jobs for every policy."""
    fleet = Fleet(
        traffic.cards,
        policy,
        checkpoints=traffic.checkpoints,
        death_every=death_every,
        scaled=scaled,
        warm_up=seconds * WARM_UP,
        seed=SEED,
    )
    return fleet.run(orders(traffic, seconds, SEED), seconds)


def _head(title: str) -> Iterator[str]:
    yield f"\n{title}\n"
    yield from HEAD


def _row(name: str, outcome: Outcome, on_demand: float, spot: float) -> str:
    figures = (
        f"{outcome.goodput:.1%}",
        f"{outcome.refused / outcome.offered.total():.1%}",
        f"{quantile(outcome.latencies, 0.5):.2f}",
        f"{quantile(outcome.latencies, 0.95):.2f}",
        f"{quantile(outcome.waits, 0.95):.2f}",
        f"{outcome.warm_hits:.1%}",
        f"{outcome.switches / outcome.images:.2f}",
        f"{outcome.fairness:.3f}",
        f"{on_demand:.3f}",
        f"{spot:.3f}",
    )
    return f"| {name} | {' | '.join(figures)} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.scaling", description=__doc__)
    parser.add_argument("--cards", type=int, default=100)
    parser.add_argument("--blends", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=120.0, help="of simulated time")
    parser.add_argument("--on-demand", type=float, default=1.0, help="price of a card's hour")
    parser.add_argument("--spot", type=float, default=0.4, help="price of an hour of one that may be taken away")
    parser.add_argument("--write", action="store_true", help="renew the tables of docs/SCALING.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
