"""Takes who asks for a rollout, or what was decided for them before, gives the arm that is painted."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping

from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import ANYBODY, Caller
from sdxl_gateway.core.rollout import Arm, Shares, arm_of, leading

Pick = Callable[[str, Shares], str]
"""From a rollout's name and the shares of its arms to a target."""


Over = Callable[[str], Shares | None]
"""From a rollout's name to the shares that hold over the configuration's, where any do."""


def nothing_over(_: str) -> None:
    """The configuration's shares hold."""


def configured(settings: Settings) -> dict[str, Shares]:
    """The rollouts there are, with the configuration's shares."""
    return {name: style.shares for name, style in settings.models.items() if style.rollout}


def in_force(rollouts: Mapping[str, Shares], over: Over) -> dict[str, Shares]:
    """With the shares that hold: what was set for targets that are not configured any more holds for nobody."""
    return {name: _held(shares, over(name)) for name, shares in rollouts.items()}


def _held(own: Shares, said: Shares | None) -> Shares:
    kept = {target: (said or {}).get(target, 0.0) for target in own}
    return kept if any(kept.values()) else own


def leads(_: str, shares: Shares) -> str:
    """The largest arm, where nobody in particular asks."""
    return leading(shares)


def sticky(ask: Ask, caller: Caller) -> Pick:
    """The same arm each time for one end user, or for one key where the request names none."""
    who = _who(ask, caller)
    return lambda rollout, shares: arm_of(rollout, shares, who)


def decided(arm: Arm) -> Pick:
    """That arm, whatever the shares are by now."""
    return lambda rollout, shares: arm.target if rollout == arm.rollout else leading(shares)


def arms_of(settings: Settings) -> tuple[Arm, ...]:
    """All that are configured."""
    return tuple(Arm(name, target) for name, style in settings.models.items() for target in style.shares)


def _who(ask: Ask, caller: Caller) -> str:
    """End users of two tenants are two, whatever they are called. Nobody known is another one each time."""
    if ask.user:
        return f"user\0{caller.tenant}\0{ask.user}"
    if caller.tenant == ANYBODY.tenant and not caller.key_id:
        return secrets.token_hex()
    return f"key\0{caller.tenant}\0{caller.key_id}"
