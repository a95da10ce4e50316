"""Each setting in force is told once, with when a change of it holds."""

from __future__ import annotations

import json
from typing import Any

from sdxl_gateway.config import Checkpoint, HouseStyle, LoraWeight, Server, Settings
from sdxl_gateway.config.live import LIVE, RESTART
from sdxl_gateway.config.shown import shown_settings


def told(**sections: Any) -> dict[str, Any]:
    return {one.key: one for one in shown_settings(Settings(**sections))}


def test_a_change_holds_as_the_table_says() -> None:
    found = told(checkpoints={"demo": Checkpoint(path="demo")}, tenants={"art": {"weight": 2.0}})
    for rows, live in ((LIVE, True), (RESTART, False)):
        for row in rows:
            start = f"{row.replace('*', 'demo')}."
            assert {one.live for key, one in found.items() if f"{key}.".startswith(start)} <= {live}, row
    assert (found["checkpoints.demo.steps"].live, found["checkpoints.demo.path"].live) == (True, False)
    assert (found["tenants.art.weight"].value, found["tenants.art.weight"].live) == (2.0, True)


def test_what_nobody_set_is_told_as_such() -> None:
    style = HouseStyle(loras=(LoraWeight(name="ink", weight=0.5),))
    found = told(server=Server(port=9), models={"story": style}, aliases={"x": "demo"})
    assert not {"server.port", "models.story.loras", "aliases.x"} & {
        key for key, one in found.items() if one.is_default
    }
    assert found["server.host"].is_default
    assert found["models.story.steps"].is_default
    assert all(one.is_default for one in told().values())


def test_values_are_as_json_has_them() -> None:
    style = HouseStyle(loras=(LoraWeight(name="ink", weight=0.5),))
    found = told(models={"story": style})
    assert found["models.story.loras"].value == [{"name": "ink", "weight": 0.5, "text_encoder_weight": None}]
    assert found["loras.directory"].value == "loras"
    json.dumps([one.value for one in found.values()])
