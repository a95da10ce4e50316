"""Reads the JSON by which an operator creates, changes or rotates a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sdxl_gateway.accounts.keys import KeyGrant
from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.api.asks.values import choice, integer, missing, number, text, wrong_type
from sdxl_gateway.api.asks.webhooks import read_webhook_url
from sdxl_gateway.core.allowance import LIMIT_NAMES, Allowance
from sdxl_gateway.core.caller import EVERYTHING, Role
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.priority import PRIORITY_WORDS, Priority
from sdxl_gateway.core.safety import Policy
from sdxl_gateway.core.text import shown

MOST_GLOBS = 256
MOST_SECONDS = 100 * 366 * 24 * 3600.0
NAME = Field("name", Kind.TEXT, "What the key is called.", max_chars=100)
TENANT = Field(
    "tenant", Kind.TEXT, "The tenant; keys of one tenant share its limits and its share of the device.", max_chars=64
)
ROLES = Field("roles", Kind.CHOICE, "Its roles; painting when absent.", choices=tuple(Role))
GLOBS = Field("models", Kind.TEXT, "Names, with * as a wildcard; all when absent.", max_chars=200)
PRIORITY = Field("priority", Kind.CHOICE, "The priority class.", choices=PRIORITY_WORDS)
SAFETY = Field("safety", Kind.CHOICE, "What to do when a judge flags something.", choices=tuple(Policy))
EXPIRES_IN = Field("expires_in", Kind.NUMBER, "Seconds from now.", low=1.0, high=MOST_SECONDS)
GRACE_SECONDS = Field("grace_seconds", Kind.NUMBER, "How long the old key stays valid.", low=0.0, high=MOST_SECONDS)
_RIGHTS = {"roles", "models", "loras", "priority", "expires_in", "limits", "safety"}
_GRANT = frozenset({"name", "tenant", "webhook_url", *_RIGHTS})
_CHANGED = _GRANT - {"tenant", "roles"}
_SAID_OTHERWISE = {"expires_in": "expires"}
LIMIT = Field("limits", Kind.INTEGER, "The most of one thing; 0 is no limit.", low=0, high=10**18)

T = TypeVar("T")


def read_grant(given: Mapping[str, Any], now: float) -> KeyGrant:
    """What a new key is to permit; `now` is unix seconds. Raises InvalidRequest naming the field."""
    refuse_unknown(given, _GRANT)
    tenant = _called(TENANT, given.get("tenant", "")).strip()
    if not tenant:
        raise missing("tenant", given="tenant" in given)
    return KeyGrant(
        tenant=tenant,
        name=_called(NAME, given.get("name", "")),
        roles=frozenset(Role(role) for role in _listed(given, "roles", (Role.GENERATE,), _role)),
        models=_listed(given, "models", EVERYTHING, _glob),
        loras=_listed(given, "loras", EVERYTHING, _glob),
        priority=_priority(given.get("priority", Priority.NORMAL.word)),
        webhook_url=_receiver(given.get("webhook_url")),
        expires=_end(given.get("expires_in"), now),
        limits=read_limits(given.get("limits")),
        safety=_policy(given.get("safety")),
    )


def read_change(given: Mapping[str, Any], now: float) -> Callable[[KeyGrant], KeyGrant]:
    """The change to a key's grant: absent fields stay as they are, null means as if never given.

    Only the named `limits` change. Raises InvalidRequest naming the field.
    """
    refuse_unknown(given, _CHANGED)
    new = {_SAID_OTHERWISE.get(name, name): _changed(name, given, now) for name in given if name != "limits"}
    named = _named_limits(given.get("limits"))

    def change(grant: KeyGrant) -> KeyGrant:
        before = {} if "limits" in given and given["limits"] is None else grant.limits.said
        return replace(grant, **new, limits=Allowance(**before | named))

    return change


def _changed(name: str, given: Mapping[str, Any], now: float) -> Any:
    value = given[name]
    match name:
        case "name":
            return _called(NAME, value)
        case "priority":
            return _priority(value)
        case "webhook_url":
            return _receiver(value)
        case "expires_in":
            return _end(value, now)
        case "safety":
            return _policy(value)
    return _listed(given, name, EVERYTHING, _glob)


def _called(field: Field, value: Any) -> str:
    """A key's name, which is shown in lists and logs. Raises InvalidRequest."""
    found = text(field, value, field.name)
    if not found.isprintable():
        raise InvalidRequest(f"'{field.name}' wants one line of characters that can be shown.", param=field.name)
    return found


def _priority(value: Any) -> Priority:
    return Priority.of(choice(PRIORITY, value, "priority"))


def _receiver(value: Any) -> str | None:
    return None if value is None else read_webhook_url(value, "webhook_url")


def _end(seconds: Any, now: float) -> float | None:
    return None if seconds is None else now + number(EXPIRES_IN, seconds, "expires_in")


def _policy(value: Any) -> Policy | None:
    return None if value is None else Policy(choice(SAFETY, value, "safety"))


def read_limits(given: Any) -> Allowance:
    """The limits of a key. Raises InvalidRequest naming the limit."""
    return Allowance(**_named_limits(given))


def _named_limits(given: Any) -> dict[str, int]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise wrong_type("limits", "an object", given)
    refuse_unknown(given, frozenset(LIMIT_NAMES), within="limits")
    return {name: integer(LIMIT, most, f"limits.{name}") for name, most in given.items()}


def read_grace(given: Mapping[str, Any], otherwise: float) -> float:
    """For how many seconds a rotated key stays valid. Raises InvalidRequest."""
    refuse_unknown(given, frozenset({"grace_seconds"}))
    return number(GRACE_SECONDS, given.get("grace_seconds", otherwise), "grace_seconds")


def refuse_unknown(given: Mapping[str, Any], known: frozenset[str], within: str = "") -> None:
    """Raises InvalidRequest for an unknown field: what an operator writes is never ignored."""
    for name in given:
        if name not in known:
            param = f"{within}.{name}" if within else name
            raise InvalidRequest(f"Unknown parameter: {shown(param)}.", param=param[:64], code="unknown_parameter")


def _listed(
    given: Mapping[str, Any], param: str, otherwise: tuple[T, ...], read: Callable[[Any, str], T]
) -> tuple[T, ...]:
    values = given.get(param)
    if values is None:
        return otherwise
    if not isinstance(values, list):
        raise wrong_type(param, "an array", values)
    if not 1 <= len(values) <= MOST_GLOBS:
        raise InvalidRequest(f"'{param}' wants 1 to {MOST_GLOBS} entries.", param=param)
    return tuple(read(value, f"{param}[{place}]") for place, value in enumerate(values))


def _role(value: Any, param: str) -> Role:
    return Role(choice(ROLES, value, param))


def _glob(value: Any, param: str) -> str:
    found = text(GLOBS, value, param).strip()
    if not found:
        raise missing(param, given=True)
    return found
