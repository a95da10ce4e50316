"""Plans the next step from the candidates and their costs, without clocks, threads or tensors.

Priority class comes first, then the least served tenant, then arrival. The first image is batched with up to
`max_lanes` images of its batch key. An image that is begun is not preempted by one of its own class; a higher class
waits at most one step. The current blend is preferred for a bounded time, so that no blend starves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

from sdxl_gateway.core.priority import Priority
from sdxl_gateway.scheduling.batch_key import BatchKey
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.fair_share import FairShares

HOLD_SECONDS = 4.0  # how long a batch key takes newcomers along while another one waits
SWITCHES_WORTH_WAITING = 8  # a blend is kept for the next leader for that many switches' time, within the hold


@dataclass(frozen=True, slots=True)
class Candidate:
    """One image that needs steps. `work` is the mean of its remaining steps, in UNet rows times megapixels."""

    job_id: str
    index: int
    key: BatchKey
    tenant: str
    priority: Priority
    arrived: float
    deadline: float
    work: float
    steps_left: int
    begun: bool
    adapters_ready: bool = True
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class BatchHold:
    """The current batch key, and since when images of other keys have had to wait for it."""

    key: BatchKey
    since: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do next: jobs to drop as they are late, then the images to step in one batch, begun first if need be."""

    drop: tuple[str, ...] = ()
    advance: tuple[Candidate, ...] = ()
    hold: BatchHold | None = None


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The rules of planning, and their parameters; no state is kept between two plans."""

    costs: Costs
    shares: FairShares
    max_lanes: int = 4
    hold_seconds: float = HOLD_SECONDS

    def plan(self, candidates: Sequence[Candidate], hold: BatchHold | None, now: float) -> Plan:
        """The next plan, given the `hold` of the one before; `now` is in seconds."""
        self.shares.present(candidate.tenant for candidate in candidates)
        drop = self._late(candidates, now)
        able = sorted((t for t in candidates if t.adapters_ready and t.job_id not in drop), key=self._order)
        if not able:
            return Plan(tuple(drop), (), hold)
        leader = self._leader(able, hold, now)
        hold = self._next_hold(leader, able, hold, now)
        return Plan(tuple(drop), self._batch_with(leader, able, hold, now), hold)

    def _order(self, candidate: Candidate) -> tuple[int, float, float, str, int]:
        return (
            candidate.priority,
            self.shares.served(candidate.tenant),
            candidate.arrived,
            candidate.job_id,
            candidate.index,
        )

    def _late(self, candidates: Sequence[Candidate], now: float) -> dict[str, None]:
        """Jobs past their deadline and, while there is other work, those that can no longer meet it."""
        late = {t.job_id: None for t in candidates if t.deadline <= now}
        if any(t.job_id not in late for t in candidates if t.begun):
            late |= {t.job_id: None for t in candidates if not t.begun and now + self._alone(t) > t.deadline}
        return late

    def _alone(self, candidate: Candidate) -> float:
        """The seconds this image needs to its picture, if it is not batched with others."""
        steps = candidate.steps_left * self.costs.step_seconds(candidate.work)
        return self.costs.begin_seconds + steps + self.costs.decode_seconds

    def _leader(self, able: list[Candidate], hold: BatchHold | None, now: float) -> Candidate:
        top = [t for t in able if t.priority == able[0].priority]
        begun = [t for t in top if t.begun]
        if begun:
            return next((t for t in begun if hold and t.key == hold.key), begun[0])
        if hold and now - hold.since < self._lean_seconds():
            return next((t for t in top if t.key.weights == hold.key.weights), top[0])
        return top[0]

    def _lean_seconds(self) -> float:
        return min(self.hold_seconds, SWITCHES_WORTH_WAITING * self.costs.switch_seconds)

    def _next_hold(self, leader: Candidate, able: list[Candidate], hold: BatchHold | None, now: float) -> BatchHold:
        """The next hold: a new one for another key, for a leader whose turn it was anyway, or if nobody else waits."""
        others_wait = any(t.key != leader.key for t in able)
        first_in_order = not leader.begun and leader is able[0]
        if hold is None or hold.key != leader.key or first_in_order or not others_wait:
            return BatchHold(leader.key, now)
        return hold

    def _batch_with(
        self, leader: Candidate, able: list[Candidate], hold: BatchHold, now: float
    ) -> tuple[Candidate, ...]:
        lanes = [leader, *(t for t in able if t.begun and t.key == leader.key and t is not leader)][: self.max_lanes]
        if now - hold.since < self.hold_seconds:
            for candidate in (t for t in able if not t.begun and t.key == leader.key and t is not leader):
                if len(lanes) < self.max_lanes and self._affordable(lanes, candidate, able, now):
                    lanes.append(candidate)
        return tuple(lanes)

    def _affordable(self, lanes: list[Candidate], newcomer: Candidate, able: list[Candidate], now: float) -> bool:
        """Whether batching this image makes no other image late, in the batch or not, that would not be late anyway."""
        fast = self.costs.step_seconds(sum(t.work for t in lanes))
        slow = self.costs.step_seconds(sum(t.work for t in lanes) + newcomer.work)
        apart = self.costs.begin_seconds + self.costs.decode_seconds
        ends = [(t, now + apart + t.steps_left * fast, t.steps_left * (slow - fast)) for t in lanes]
        ahead = takewhile(lambda t: t is not newcomer, able)
        passed_by = [t for t in ahead if not t.begun and t.key != newcomer.key]
        end, delay = max(at for _, at, _ in ends), newcomer.steps_left * (slow - fast) + apart
        for candidate in passed_by:
            end += self._alone(candidate) + self.costs.switch_seconds
            ends.append((candidate, end, delay))
        return not any(at <= candidate.deadline < at + later for candidate, at, later in ends)
