"""Takes jobs, cards and a policy, gives what became of the jobs; cards die and come back, more or fewer are kept."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from heapq import heappop, heappush
from itertools import count

from benchmarks.fleet.card import (
    BOOT_SECONDS,
    CHECKPOINT_SECONDS,
    FROM_DISK_SECONDS,
    FROM_HOST_SECONDS,
    LANES,
    SWITCH_SECONDS,
    Card,
    Given,
    adapter,
    paint_seconds,
)
from benchmarks.fleet.orders import checkpoint_of
from benchmarks.fleet.outcome import Outcome
from benchmarks.fleet.policies import Policy, begins_seconds
from sdxl_gateway.core.events import AdapterLoaded, BlendSwitched, ModelLoaded
from sdxl_gateway.core.job import Job
from sdxl_gateway.jobs.estimate import Estimate
from sdxl_gateway.jobs.queue import FairQueue

LOOK_SECONDS = 5.0
"""Between two looks of what keeps more or fewer cards."""


class Fleet:
    """The product's line (`FairQueue`), admission and window (as `Dispatcher` has them) and costs, in virtual time.

    A card dies every `death_every` seconds and is replaced. With `scaled`, cards are added while newcomers wait for
    more than so many seconds, and sent home while many idle. Jobs count that arrive after `warm_up` seconds.
    """

    def __init__(
        self,
        cards: int,
        policy: Policy,
        *,
        checkpoints: int = 3,
        death_every: float = 0.0,
        scaled: float = 0.0,
        warm_up: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.now = 0.0
        self.outcome = Outcome(held_seconds=-warm_up * cards)
        self.estimate = Estimate(LANES)
        self.costs = self.estimate.costs
        self._checkpoints = checkpoints
        self._warm_up = warm_up
        self.cards = [self._card(number) for number in range(cards)]
        self._policy = policy
        self._death_every = death_every
        self._scaled = scaled
        self._chance = random.Random(seed)
        self._queue = FairQueue(10**9, lanes=LANES)
        self._warm: defaultdict[str, dict[Card, None]] = defaultdict(dict)
        self._by_free: dict[str, list[tuple[float, int, Card]]] = defaultdict(list)
        self._events: list[tuple[float, int, str, Card | None]] = []
        self._order = count()
        self._begun_before: set[str] = set()
        self._promised_seconds = 0.0
        self._with_room: set[Card] = set()
        self.passed_by: defaultdict[int, float] = defaultdict(float)
        self._living, self._booting = cards, 0
        for card in self.cards:
            self._note(card)

    def warm_for(self, job: Job) -> list[Card]:
        """Those that have its adapter, with whatever checkpoint."""
        return list(self._warm[adapter(job)])

    def least_busy(self) -> list[Card]:
        """Of each checkpoint the card that will be free first."""
        found = (self._first_free(checkpoint) for checkpoint in self._by_free)
        return [card for card in found if card is not None]

    def _first_free(self, checkpoint: str) -> Card | None:
        heap = self._by_free[checkpoint]
        while heap:
            free_at, _, card = heap[0]
            if card.alive and card.free_at == free_at and card.checkpoint == checkpoint:
                return card
            heappop(heap)
        return None

    def run(self, jobs: Iterable[Job], seconds: float) -> Outcome:
        """All jobs, and until the last of them is over."""
        self._at(self._death_every or float("inf"), "death")
        self._at(LOOK_SECONDS if self._scaled else float("inf"), "look")
        for job in jobs:
            self._until(job.arrived)
            self._arrived(job)
        self._until(seconds)
        self.outcome.held_seconds += seconds * self._living
        self._events = [event for event in self._events if event[2] == "painted"]
        while self._events:
            self._next()
        return self.outcome

    def _at(self, time: float, what: str, card: Card | None = None) -> None:
        heappush(self._events, (time, next(self._order), what, card))

    def _until(self, time: float) -> None:
        while self._events and self._events[0][0] <= time:
            self._next()
        self.now = time

    def _next(self) -> None:
        self.now, _, what, card = heappop(self._events)
        match what:
            case "painted" if card is not None and card.alive:
                self._painted(card)
            case "join":
                self._joins(card)
            case "death":
                self._dies(self._chance.choice([card for card in self.cards if card.alive]))
                self._at(self.now + self._death_every, "death")
            case "look":
                self._look()
                self._at(self.now + LOOK_SECONDS, "look")

    def _arrived(self, job: Job) -> None:
        if self._counts(job):
            self.outcome.offered[job.tenant] += 1
        ahead = self._queue.ahead_of(job, self.estimate.seconds) / self._living
        if self.now + ahead + begins_seconds(self, job) + self.estimate.job_seconds(job) > job.deadline:
            self.outcome.refused += self._counts(job)
            return
        self._queue.put(job)
        self._give_out()

    def _give_out(self) -> None:
        while (placed := self._next_place()) is not None:
            self._give(*placed)

    def _next_place(self) -> tuple[Card, Job] | None:
        self.passed_by.clear()
        return self._queue.take_first(lambda _: bool(self._with_room), self._place)

    def _place(self, job: Job) -> tuple[Card, Job] | None:
        """As `jobs.placing.Placing` does, which looks at every engine there is."""
        card = self._policy(self, job)
        if card.has_room:
            return card, job
        self.passed_by[card.number] += self.estimate.job_seconds(job)
        return None

    def _give(self, card: Card, job: Job) -> None:
        seconds, bringing = self.estimate.job_seconds(job), self._brought(card, job)
        self.outcome.given += self._counts(job)
        self._promised_seconds += seconds
        card.line.append(Given(job, self.now + bringing, seconds))
        card.images += job.recipe.count
        card.free_at = max(card.free_at, self.now) + seconds + bringing
        if not card.batch:
            self._begin(card)
        self._note(card)

    def _brought(self, card: Card, job: Job) -> float:
        """Seconds until the job's adapter is on the card."""
        name = adapter(job)
        if name in card.warm:
            card.warm.use(name)
            self.outcome.warm += self._counts(job) and card.checkpoint == job.recipe.checkpoint
            return 0.0
        source, seconds = ("host", FROM_HOST_SECONDS) if name in card.near else ("disk", FROM_DISK_SECONDS)
        self.costs.observe(AdapterLoaded(name, source, seconds, 0))
        card.near.use(name)
        gone = card.warm.use(name)
        self._warm[name][card] = None
        if gone is not None:
            del self._warm[gone][card]
        return seconds

    def _begin(self, card: Card) -> None:
        for late in [given for given in card.line if self.now + given.seconds > given.job.deadline]:
            card.line.remove(late)
            self.outcome.dropped += self._counts(late.job)
            self._gone(card, late)
        if card.line:
            card.batch = card.next_batch(self.now)
            begins = max([self.now, *(given.near_at for given in card.batch)])
            self.outcome.waits.extend(begins - given.job.arrived for given in card.batch if self._counts(given.job))
            begins += self._put_on(card, card.batch[0].job)
            self._at(begins + paint_seconds(card.batch, self.costs), "painted", card)

    def _put_on(self, card: Card, job: Job) -> float:
        """Seconds until the job's checkpoint and its blend are."""
        seconds = 0.0
        if card.checkpoint != job.recipe.checkpoint:
            card.checkpoint, seconds = job.recipe.checkpoint, CHECKPOINT_SECONDS
            self.costs.observe(ModelLoaded("checkpoint", "host", CHECKPOINT_SECONDS, 0))
        if card.on != adapter(job):
            card.on = adapter(job)
            self.outcome.switches += self._counts(job)
            self.costs.observe(BlendSwitched(SWITCH_SECONDS, 722))
            seconds += SWITCH_SECONDS
        return seconds

    def _painted(self, card: Card) -> None:
        for given in card.batch:
            self._over(card, given)
        card.batch = []
        card.free_at = self.now + sum(given.seconds for given in card.line)
        if card.line:
            self._begin(card)
        self._note(card)
        self._give_out()

    def _over(self, card: Card, given: Given) -> None:
        outcome, job = self.outcome, given.job
        self._gone(card, given)
        if not self._counts(job):
            return
        outcome.latencies.append(self.now - job.arrived)
        outcome.images += job.recipe.count
        if self.now <= job.deadline:
            outcome.in_time[job.tenant] += 1
            outcome.images_in_time += job.recipe.count

    def _counts(self, job: Job) -> bool:
        return job.arrived >= self._warm_up

    def _gone(self, card: Card, given: Given) -> None:
        card.images -= given.job.recipe.count
        self._promised_seconds -= given.seconds

    def _note(self, card: Card) -> None:
        """Where it can be found by when it is free."""
        heappush(self._by_free[card.checkpoint], (card.free_at, next(self._order), card))
        if card.has_room:
            self._with_room.add(card)
        else:
            self._with_room.discard(card)

    def _joins(self, dead: Card | None) -> None:
        """In the place of a dead one, or as one more."""
        card = self._card(len(self.cards) if dead is None else dead.number)
        self.cards[card.number :] = [card, *self.cards[card.number + 1 :]]
        self._living += 1
        self._booting -= 1
        self.outcome.held_seconds -= max(self.now - BOOT_SECONDS, self._warm_up)
        self._note(card)
        self._give_out()

    def _leaves(self, card: Card) -> None:
        card.alive = False
        self._with_room.discard(card)
        self._living -= 1
        self.outcome.held_seconds += max(self.now, self._warm_up)
        for warm in self._warm.values():
            warm.pop(card, None)

    def _dies(self, card: Card) -> None:
        """What it had not begun goes back to the line, and what it had begun too, once."""
        self.outcome.deaths += 1
        self._leaves(card)
        for given in reversed(card.batch + card.line):
            self._gone(card, given)
            if given in card.batch and given.job.id in self._begun_before:
                self.outcome.lost += self._counts(given.job)
            else:
                self._queue.put_back(given.job)
        self._begun_before.update(given.job.id for given in card.batch)
        self._boot(1, card)
        self._give_out()

    def _boot(self, cards: int, instead_of: Card | None = None) -> None:
        self._booting += cards
        for _ in range(cards):
            self._at(self.now + BOOT_SECONDS, "join", instead_of)

    def _look(self) -> None:
        """Add a tenth while newcomers wait; send a tenth home while a third idles."""
        some = max(self._living // 10, 1)
        idle = [card for card in self.cards if card.alive and not card.images]
        if self._promised_seconds / self._living > self._scaled and self._booting < 2 * some:
            self._boot(some)
        elif len(idle) > self._living // 3:
            for card in idle[:some]:
                self._leaves(card)

    def _card(self, number: int) -> Card:
        """It begins with a checkpoint in proportion to the blends that belong to it."""
        return Card(number, checkpoint_of(number, self._checkpoints), free_at=self.now)
