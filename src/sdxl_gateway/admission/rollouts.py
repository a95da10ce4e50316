"""Chooses the arms of rollouts for callers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import ANYBODY, Caller
from sdxl_gateway.core.rollout import Arm, Shares, arm_of, leading

Pick = Callable[[str, Shares], str]
"""Chooses a target, by a rollout's name and the shares of its arms."""


Over = Callable[[str], Shares | None]
"""The shares that override the configuration's, by a rollout's name, if any do."""


def nothing_over(_: str) -> None:
    """Overrides nothing."""


def configured(settings: Settings) -> dict[str, Shares]:
    """All rollouts, with the configuration's shares."""
    return {name: style.shares for name, style in settings.models.items() if style.rollout}


def in_force(rollouts: Mapping[str, Shares], over: Over) -> dict[str, Shares]:
    """The rollouts with their current shares; shares of targets that are no longer configured are ignored."""
    return {name: _held(shares, over(name)) for name, shares in rollouts.items()}


def _held(own: Shares, said: Shares | None) -> Shares:
    kept = {target: (said or {}).get(target, 0.0) for target in own}
    return kept if any(kept.values()) else own


def leads(_: str, shares: Shares) -> str:
    """The largest arm, for when there is no caller."""
    return leading(shares)


def sticky(ask: Ask, caller: Caller) -> Pick:
    """The same arm each time for an end user or, if the request names none, for a key."""
    who = _who(ask, caller)
    return lambda rollout, shares: arm_of(rollout, shares, who)


def decided(arm: Arm) -> Pick:
    """That arm, regardless of the shares."""
    return lambda rollout, shares: arm.target if rollout == arm.rollout else leading(shares)


def arms_of(settings: Settings) -> tuple[Arm, ...]:
    """All configured arms."""
    return tuple(Arm(name, target) for name, style in settings.models.items() for target in style.shares)


def _who(ask: Ask, caller: Caller) -> str:
    """Whom an arm is chosen for: end users are distinct by tenant; unknown callers are random each time."""
    if ask.user:
        return f"user\0{caller.tenant}\0{ask.user}"
    if caller.tenant == ANYBODY.tenant and not caller.key_id:
        return secrets.token_hex()
    return f"key\0{caller.tenant}\0{caller.key_id}"
