"""Takes who waits, who is at work and what things cost; gives the Plan of the next step. No clock, thread or tensor.

Priority class first, then the tenant served least, then arrival. Whoever leads takes along up to `max_lanes` images
of its batch key. An image begun is not put aside for one of its own class; a higher class waits one step at most.
The blend that is on is preferred for a bounded time, so no blend starves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

from sdxl_gateway.core.job import Priority
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.scheduling.fair_share import Shares

HOLD_SECONDS = 4.0  # how long a batch key takes newcomers along while another one waits
SWITCHES_WORTH_WAITING = 8  # a blend is kept for the next leader for that many switches' time, within the hold


class BatchKey(NamedTuple):
    """Images of equal key may share a step."""

    checkpoint: str
    blend: tuple[tuple[str, float], ...]
    width: int
    height: int
    guided: bool

    @classmethod
    def of(cls, recipe: Recipe) -> BatchKey:
        return cls(
            recipe.checkpoint_digest, recipe.blend.unet_key, recipe.paint_width, recipe.paint_height, recipe.guided
        )

    @property
    def weights(self) -> tuple[object, ...]:
        """What has to be in place in the UNet."""
        return self[:2]


@dataclass(frozen=True, slots=True)
class Turn:
    """One image that wants steps. `work` is one step's UNet rows times megapixels; `near`: its adapters are loaded."""

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
    near: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """The key that is on, and since when others have been made to wait for it."""

    key: BatchKey
    since: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do between two steps: jobs to drop as late, then the turns to step together (begin those not begun)."""

    drop: tuple[str, ...] = ()
    advance: tuple[Turn, ...] = ()
    hold: Hold | None = None


@dataclass(frozen=True, slots=True)
class Scheduler:
    """The rules and what they weigh; keeps nothing between two plans."""

    costs: Costs
    shares: Shares
    max_lanes: int = 4
    hold_seconds: float = HOLD_SECONDS

    def plan(self, turns: Sequence[Turn], hold: Hold | None, now: float) -> Plan:
        self.shares.present(turn.tenant for turn in turns)
        drop = self._late(turns, now)
        able = sorted((t for t in turns if t.near and t.job_id not in drop), key=self._order)
        if not able:
            return Plan(tuple(drop), (), hold)
        leader = self._leader(able, hold, now)
        hold = self._held(leader, able, hold, now)
        return Plan(tuple(drop), self._company(leader, able, hold, now), hold)

    def _order(self, turn: Turn) -> tuple[int, float, float, str, int]:
        return (turn.priority, self.shares.served(turn.tenant), turn.arrived, turn.job_id, turn.index)

    def _late(self, turns: Sequence[Turn], now: float) -> dict[str, None]:
        """Jobs past their deadline, and, while there is other work, those that can no longer make it."""
        late = {t.job_id: None for t in turns if t.deadline <= now}
        if any(t.job_id not in late for t in turns if t.begun):
            late |= {t.job_id: None for t in turns if not t.begun and now + self._alone(t) > t.deadline}
        return late

    def _alone(self, turn: Turn) -> float:
        """Seconds from beginning this image to its picture, if nothing shared its steps."""
        steps = turn.steps_left * self.costs.step_seconds(turn.work)
        return self.costs.begin_seconds + steps + self.costs.decode_seconds

    def _leader(self, able: list[Turn], hold: Hold | None, now: float) -> Turn:
        top = [t for t in able if t.priority == able[0].priority]
        begun = [t for t in top if t.begun]
        if begun:
            return next((t for t in begun if hold and t.key == hold.key), begun[0])
        if hold and now - hold.since < self._lean_seconds():
            return next((t for t in top if t.key.weights == hold.key.weights), top[0])
        return top[0]

    def _lean_seconds(self) -> float:
        return min(self.hold_seconds, SWITCHES_WORTH_WAITING * self.costs.switch_seconds)

    def _held(self, leader: Turn, able: list[Turn], hold: Hold | None, now: float) -> Hold:
        """Starts anew with another key, with a leader whose turn it was anyway, and while nobody else waits."""
        others_wait = any(t.key != leader.key and not t.begun for t in able)
        first_in_order = not leader.begun and leader is able[0]
        if hold is None or hold.key != leader.key or first_in_order or not others_wait:
            return Hold(leader.key, now)
        return hold

    def _company(self, leader: Turn, able: list[Turn], hold: Hold, now: float) -> tuple[Turn, ...]:
        lanes = [leader, *(t for t in able if t.begun and t.key == leader.key and t is not leader)][: self.max_lanes]
        if now - hold.since < self.hold_seconds:
            for turn in (t for t in able if not t.begun and t.key == leader.key and t is not leader):
                if len(lanes) < self.max_lanes and self._affordable(lanes, turn, able, now):
                    lanes.append(turn)
        return tuple(lanes)

    def _affordable(self, lanes: list[Turn], newcomer: Turn, able: list[Turn], now: float) -> bool:
        """Taking the newcomer along makes nobody late, aboard or passed by, who would not have been late anyway."""
        fast = self.costs.step_seconds(sum(t.work for t in lanes))
        slow = self.costs.step_seconds(sum(t.work for t in lanes) + newcomer.work)
        apart = self.costs.begin_seconds + self.costs.decode_seconds
        ends = [(t, now + apart + t.steps_left * fast, t.steps_left * (slow - fast)) for t in lanes]
        ahead = takewhile(lambda t: t is not newcomer, able)
        passed_by = [t for t in ahead if not t.begun and t.key != newcomer.key]
        end, delay = max(at for _, at, _ in ends), newcomer.steps_left * (slow - fast) + apart
        for turn in passed_by:
            end += self._alone(turn) + self.costs.switch_seconds
            ends.append((turn, end, delay))
        return not any(at <= turn.deadline < at + later for turn, at, later in ends)
