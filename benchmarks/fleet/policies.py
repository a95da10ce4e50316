"""Ways to pick the card for a job: the product's rule, and what others do."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from hashlib import blake2b
from heapq import nsmallest
from itertools import chain
from typing import Protocol

from benchmarks.fleet.card import Card, adapter
from sdxl_gateway.core.job import Job
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.dispatch import Standing, choose

LOOKED_AT = 4


class Cards(Protocol):
    """What a policy may look at."""

    now: float
    costs: Costs
    cards: list[Card]
    passed_by: defaultdict[int, float]
    """Seconds of work, by card, of those who wait for it although others have room."""

    def warm_for(self, job: Job) -> list[Card]:
        """Those that have its adapter, with whatever checkpoint."""

    def least_busy(self) -> list[Card]:
        """Of each checkpoint the card that will be free first."""


Policy = Callable[[Cards, Job], Card]
"""Asked while some card has room. A job whose card has none keeps its place in the line."""


def ours(cards: Cards, job: Job) -> Card:
    """`scheduling.dispatch.choose`, shown the few it can prefer: whoever is free first of each degree of warmth."""
    shown = _shown(cards, job)
    return shown[choose([standing(cards, card, job) for card in shown])]


def begins_seconds(cards: Cards, job: Job) -> float:
    """Until the first of them would begin the job: what admission goes by, whoever picks the card."""
    return min(standing(cards, card, job).begins_seconds for card in _shown(cards, job))


def _shown(cards: Cards, job: Job) -> list[Card]:
    warm: dict[bool, list[Card]] = {True: [], False: []}
    for card in cards.warm_for(job):
        warm[card.checkpoint == job.recipe.checkpoint].append(card)
    first = (nsmallest(LOOKED_AT, found, key=lambda card: card.free_at) for found in warm.values())
    return list(dict.fromkeys(chain(*first, cards.least_busy())))


def standing(cards: Cards, card: Card, job: Job) -> Standing:
    """As the dispatcher makes it of an engine's slot."""
    has_checkpoint, missing = card.checkpoint == job.recipe.checkpoint, int(adapter(job) not in card.warm)
    return Standing(
        card.wait_seconds(cards.now) + cards.passed_by[card.number],
        cards.costs.warming_seconds(checkpoint_warm=has_checkpoint, adapters_missing=missing),
        0.0,
        has_checkpoint,
        not missing,
        card.images,
    )


def least_wait(cards: Cards, _: Job) -> Card:
    """Whoever is free first, whatever it holds."""
    return min(cards.least_busy(), key=lambda card: card.free_at)


def at_random(seed: int) -> Policy:
    """Any that has room."""
    chance = random.Random(seed)

    def pick(cards: Cards, _: Job) -> Card:
        while not (card := chance.choice(cards.cards)).has_room:
            pass
        return card

    return pick


def round_robin() -> Policy:
    """One after another, passing by those without room."""
    turn = 0

    def pick(cards: Cards, _: Job) -> Card:
        nonlocal turn
        while not (card := cards.cards[turn % len(cards.cards)]).has_room:
            turn += 1
        turn += 1
        return card

    return pick


def by_hash(cards: Cards, job: Job) -> Card:
    """Always the same card for a blend, the next one where that has no room: what a sticky proxy does."""
    at = int.from_bytes(blake2b(adapter(job).encode(), digest_size=8).digest(), "big")
    count = len(cards.cards)
    return next(card for card in (cards.cards[(at + step) % count] for step in range(count)) if card.has_room)
