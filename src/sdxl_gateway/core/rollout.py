"""Assigns callers to the arms of a rollout: each to the same arm for as long as the shares do not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import fsum, log
from typing import Literal

Shares = Mapping[str, float]
"""The share of each arm by its target, relative to their sum."""
_BITS = 53
_STEPS = float(1 << _BITS)


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of a rollout: requests for the model name `rollout` are painted with the model name `target`."""

    rollout: str
    target: str


ArmOutcome = Literal["finished", "reused", "refused", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class ArmEnded:
    """A request that asked for a rollout is over, with so many pictures painted by its arm; "reused" were before.

    `seconds` are from when it was taken up to its last picture, where it finished. `images` are the ids under which
    pictures are kept for the `tenant`.
    """

    arm: Arm
    outcome: ArmOutcome
    pictures: int = 0
    seconds: float | None = None
    tenant: str = ""
    images: tuple[str, ...] = ()


def leading(shares: Shares) -> str:
    """The target with the largest share, the first of equals."""
    return max(shares, key=lambda target: shares[target])


def arm_of(rollout: str, shares: Shares, who: str) -> str:
    """The target for `who`, by weighted rendezvous hashing (Resch 2015): each has the probability of its share.

    When shares change, a caller only moves to a target whose share grew more than that of its old one. So nobody leaves
    a target that is raised at the others' expense, and a new target takes from all others alike.
    """
    drawn = {target: -log(_drawn(rollout, target, who)) / share for target, share in shares.items() if share > 0}
    return min(drawn, key=lambda target: drawn[target])


def raised(shares: Shares, target: str, share: float) -> dict[str, float]:
    """The shares with `share` of 100 for the target; the others split the rest in their proportions, else evenly."""
    others = {name: one for name, one in shares.items() if name != target}
    total = fsum(others.values())
    parts = {name: one / total if total else 1 / len(others) for name, one in others.items()}
    return {name: round(share if name == target else (100 - share) * parts[name], 6) for name in shares}


def _drawn(*words: str) -> float:
    """A number between 0 and 1, both exclusive, evenly distributed; the rollout's name is the salt."""
    digest = sha256("\0".join(words).encode("utf-8", "surrogatepass")).digest()
    return ((int.from_bytes(digest[:8], "big") >> (64 - _BITS)) + 0.5) / _STEPS
