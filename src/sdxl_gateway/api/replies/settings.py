"""The settings in force, as operators see them."""

from __future__ import annotations

from typing import Any, Literal

from typing_extensions import TypedDict

from sdxl_gateway.config import Settings
from sdxl_gateway.config.shown import shown_settings


class SettingCard(TypedDict):
    """One setting: `key` is its path in config.toml, as "server.port"; the `value` of a `secret` is masked if set.

    `is_default` says that it was not changed. A change of it `applies` on "reload" (SIGHUP), or after a "restart".
    """

    key: str
    value: Any
    secret: bool
    is_default: bool
    applies: Literal["reload", "restart"]


class SettingList(TypedDict):
    """All settings in force, in the order of their sections."""

    object: Literal["list"]
    data: list[SettingCard]


def setting_list(settings: Settings) -> SettingList:
    """The list as a JSON object."""
    return {
        "object": "list",
        "data": [
            {
                "key": one.key,
                "value": one.value,
                "secret": one.secret,
                "is_default": one.is_default,
                "applies": "reload" if one.live else "restart",
            }
            for one in shown_settings(settings)
        ],
    }
