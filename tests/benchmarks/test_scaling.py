"""The product's dispatch in a simulated fleet: warmer and sooner than other policies, and nobody is forgotten."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from benchmarks.fleet.card import Card
from benchmarks.fleet.fleet import Fleet
from benchmarks.fleet.orders import Traffic, orders
from benchmarks.fleet.outcome import Outcome, quantile
from benchmarks.fleet.policies import Cards, ours, standing
from benchmarks.scaling import BEGIN, DOCS, END, POLICIES, run, tables
from sdxl_gateway.core.job import Job

SECONDS = 60.0
ONE = Traffic(cards=8, blends=300, load=0.8, checkpoints=1)
THREE = Traffic(cards=8, blends=300, load=0.6)


@cache
def painted(traffic: Traffic, policy: str) -> Outcome:
    return run(traffic, SECONDS, POLICIES[policy]())


@pytest.mark.parametrize("other", ["random", "round robin"])
@pytest.mark.parametrize("traffic", [ONE, THREE])
def test_blends_are_met_warm_more_often_and_whoever_waits_waits_less(traffic: Traffic, other: str) -> None:
    mine, theirs = painted(traffic, "ours"), painted(traffic, other)
    assert mine.warm_hits > theirs.warm_hits + 0.1
    assert quantile(mine.waits, 0.95) < 0.75 * quantile(theirs.waits, 0.95)
    assert mine.goodput >= theirs.goodput


def test_a_hot_blend_spreads_no_more_than_waiting_for_it_costs() -> None:
    """Least wait spreads every blend to every card; being warm may cost a tenth of the longest waits."""
    mine, theirs = painted(ONE, "ours"), painted(ONE, "least wait")
    assert mine.warm_hits > theirs.warm_hits + 0.1
    assert quantile(mine.waits, 0.95) < 1.1 * quantile(theirs.waits, 0.95)


@pytest.mark.parametrize(("death_every", "scaled"), [(10.0, 0.0), (10.0, 0.9)])
def test_every_job_ends_once_while_cards_die_and_come(death_every: float, scaled: float) -> None:
    traffic = replace(THREE, burst=1.5)
    fleet = Fleet(traffic.cards, ours, death_every=death_every, scaled=scaled)
    found = fleet.run(orders(traffic, SECONDS, 2), SECONDS)
    assert found.deaths == 6
    assert found.offered.total() == len(found.latencies) + found.refused + found.dropped + found.lost
    assert found.goodput > 0.5
    assert found.held_seconds > 0


def test_the_few_cards_the_rule_is_shown_hold_the_one_it_would_choose_of_all() -> None:
    def shown_all(cards: Cards, job: Job) -> Card:
        chosen = ours(cards, job)
        if any(cards.passed_by.values()):
            return chosen
        begins = {card: standing(cards, card, job).begins_seconds for card in cards.cards if card.alive}
        assert begins[chosen] == pytest.approx(min(begins.values()))
        return chosen

    found = Fleet(THREE.cards, shown_all, death_every=10.0).run(orders(THREE, 30.0, 3), 30.0)
    assert found.given > 100


def test_the_tables_are_there_and_made_of_what_is_printed() -> None:
    lines = list(tables(Traffic(4, 10, 0.5), 8.0, 1.0, 0.5))
    text = DOCS.read_text("utf-8")
    written = text.partition(BEGIN)[2].partition(END)[0].splitlines()
    names = [line.split("|")[1] for line in lines if line.startswith("| ")]
    assert [line.split("|")[1] for line in written if line.startswith("| ")] == names
