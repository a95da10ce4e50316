"""What a tenant and a key may take: refused above, counted, and given back where nothing came of it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest

from sdxl_gateway.config import Tenant
from sdxl_gateway.core.allowance import Allowance
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.events import Progressed
from sdxl_gateway.gateway.events import Accepted
from tests.kit.gateway import CALLER, GatewayKit, ask, gateway_kit
from tests.kit.serving import served

pytestmark = pytest.mark.usefixtures("logs_as_they_were")
GENERATE = "/v1/images/generations"
KEYED = {"auth": {"api_keys": ["plain"], "admin_keys": ["root"]}}
ROOT = {"authorization": "Bearer root"}
SMALL = 64 * 64
ONE = {"prompt": "a", "size": "64x64", "steps": 3, "response_format": "b64_json"}


async def outcome(kit: GatewayKit, caller: Caller = CALLER, **fields: Any) -> str:
    """What became of one small request: "painted", or the code of its refusal and the field it names."""
    try:
        painted = kit.gateway.paint(ask(**{"size": "64x64", **fields}), caller)
        async with asyncio.timeout(20), aclosing(painted) as items:
            async for _ in items:
                pass
    except GatewayError as error:
        return f"{error.code} {error.param}" if error.param else f"{error.code}"
    return "painted"


async def outcomes(kit: GatewayKit, times: int, **fields: Any) -> list[str]:
    return [await outcome(kit, **fields) for _ in range(times)]


@pytest.mark.parametrize(
    ("limits", "fields", "told"),
    [
        ({"max_n": 2}, {"n": 3}, "integer_above_max_value n"),
        ({"images_per_minute": 2}, {"n": 3}, "integer_above_max_value n"),
        ({"max_steps": 3}, {"steps": 4}, "integer_above_max_value steps"),
        ({"max_steps": 19}, {"steps": None}, "integer_above_max_value steps"),
        ({"max_steps": 20}, {"steps": None, "quality": "high"}, "integer_above_max_value quality"),
        ({"max_pixels": SMALL}, {"size": "64x72"}, "invalid_value size"),
        ({"pixel_steps_per_day": 3 * SMALL - 1}, {}, "integer_above_max_value size"),
    ],
    ids=str,
)
@pytest.mark.parametrize("whose", ["tenant", "defaults", "key"])
async def test_what_is_above_a_max_is_refused_by_its_name(
    tmp_path: Path, whose: str, limits: dict[str, int], fields: dict[str, Any], told: str
) -> None:
    sections: dict[str, Any] = {"tenants": {"me": Tenant(**limits)}} if whose == "tenant" else {}
    sections |= {"tenant_defaults": Tenant(**limits)} if whose == "defaults" else {}
    caller = Caller("me", key_id="key_a", limits=Allowance(**limits) if whose == "key" else Allowance())
    async with gateway_kit(tmp_path, **sections) as kit:
        assert await outcome(kit, caller, **fields) == told
        assert await outcome(kit, Caller("other"), **fields) == ("painted" if whose != "defaults" else told)


async def test_what_is_at_a_max_is_painted(tmp_path: Path) -> None:
    most = Tenant(max_n=2, max_steps=3, max_pixels=SMALL, pixel_steps_per_day=2 * 3 * SMALL)
    async with gateway_kit(tmp_path, tenant_defaults=most) as kit:
        assert await outcome(kit, n=2) == "painted"


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"requests_per_minute": 2}, "rate_limit_exceeded"),
        ({"images_per_minute": 2}, "rate_limit_exceeded"),
        ({"pixel_steps_per_day": 2 * 3 * SMALL}, "insufficient_quota"),
    ],
    ids=str,
)
async def test_more_than_may_be_taken_is_refused_and_another_tenant_paints(
    tmp_path: Path, limits: dict[str, int], told: str
) -> None:
    async with gateway_kit(tmp_path, tenant_defaults=Tenant(**limits)) as kit:
        assert await outcomes(kit, 4) == ["painted", "painted", told, told]
        assert await outcome(kit, Caller("other")) == "painted"


async def test_keys_of_one_tenant_share_its_limits_and_have_their_own(tmp_path: Path) -> None:
    one, other = (Caller("art", key_id=name, limits=Allowance(requests_per_minute=2)) for name in ("a", "b"))
    async with gateway_kit(tmp_path, tenants={"art": Tenant(requests_per_minute=3)}) as kit:
        assert [await outcome(kit, one) for _ in range(3)] == ["painted", "painted", "rate_limit_exceeded"]
        assert [await outcome(kit, other) for _ in range(2)] == ["painted", "rate_limit_exceeded"]


async def test_a_tenants_own_word_goes_before_the_usual(tmp_path: Path) -> None:
    usual, own = Tenant(requests_per_minute=1), {"me": Tenant(requests_per_minute=0), "shy": Tenant(weight=2.0)}
    async with gateway_kit(tmp_path, tenant_defaults=usual, tenants=own) as kit:
        assert await outcomes(kit, 3) == ["painted"] * 3
        assert [await outcome(kit, Caller("shy")) for _ in range(2)] == ["painted", "rate_limit_exceeded"]


async def test_one_large_request_costs_as_much_as_many_small_ones(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, tenant_defaults=Tenant(pixel_steps_per_day=10 * 3 * SMALL)) as kit:
        assert await outcome(kit, n=9) == "painted"
        assert await outcomes(kit, 2) == ["painted", "insufficient_quota"]


async def test_places_come_back_however_a_request_ends(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, tenant_defaults=Tenant(concurrent_jobs=1)) as kit:
        running = kit.gateway.paint(ask("step-seconds=0.05", size="64x64", steps=100), CALLER)
        assert isinstance(await anext(running), Accepted)
        assert await outcome(kit) == "rate_limit_exceeded"
        assert await outcome(kit, Caller("other")) == "painted"
        await running.aclose()
        assert await outcome(kit, model="nothing") == "model_not_found model"
        assert await outcome(kit, prompt="raise-in-step") == "engine_error"
        assert await outcome(kit) == "painted"


async def test_only_what_may_be_used_is_charged(tmp_path: Path) -> None:
    """Two requests are paid for; neither what the server failed at nor what never began is."""
    async with gateway_kit(tmp_path, tenant_defaults=Tenant(pixel_steps_per_day=2 * 3 * SMALL)) as kit:
        assert await outcomes(kit, 3, prompt="raise-in-step") == ["engine_error"] * 3
        assert await outcome(kit, model="nothing") == "model_not_found model"
        early = kit.gateway.paint(ask(size="64x64"), CALLER)
        await anext(early)
        await early.aclose()
        assert await outcomes(kit, 3) == ["painted", "painted", "insufficient_quota"]


async def test_who_leaves_once_it_has_begun_has_paid(tmp_path: Path) -> None:
    async with gateway_kit(tmp_path, tenant_defaults=Tenant(pixel_steps_per_day=100 * SMALL)) as kit:
        running = kit.gateway.paint(ask("step-seconds=0.02", size="64x64", steps=100), CALLER)
        while not isinstance(await anext(running), Progressed):
            pass
        await running.aclose()
        assert await outcome(kit, steps=1) == "insufficient_quota"


async def test_a_refusal_takes_nothing(tmp_path: Path) -> None:
    """Were the request counted although its image was not, the third one would not be let in."""
    limits = Tenant(requests_per_minute=3, concurrent_jobs=3)
    key = Caller("me", key_id="key_a", limits=Allowance(requests_per_minute=1))
    async with gateway_kit(tmp_path, tenant_defaults=limits) as kit:
        assert [await outcome(kit, key) for _ in range(5)] == ["painted", *["rate_limit_exceeded"] * 4]
        assert await outcomes(kit, 3) == ["painted", "painted", "rate_limit_exceeded"]


async def post(http: httpx.AsyncClient, key: str = "root", **said: Any) -> httpx.Response:
    return await http.post(GENERATE, json=ONE | said, headers={"authorization": f"Bearer {key}"})


async def test_what_is_judged_on_request_counts_as_a_request(tmp_path: Path) -> None:
    sections = {"safety": {"deny_words": ["nude"]}, "tenant_defaults": Tenant(requests_per_minute=2)}
    root = {"authorization": "Bearer root"}
    async with served(tmp_path, **sections, **KEYED) as http:
        judged = [await http.post("/v1/moderations", json={"input": "a cat"}, headers=root) for _ in range(3)]
        assert [one.status_code for one in judged] == [200, 200, 429]
        assert judged[2].json()["error"]["code"] == "rate_limit_exceeded"
        assert 0 < int(judged[2].headers["retry-after"]) <= 120
        assert (await post(http)).status_code == 429


async def test_every_answer_says_how_much_is_left(tmp_path: Path) -> None:
    most = Tenant(requests_per_minute=2, images_per_minute=9, pixel_steps_per_day=100 * SMALL)
    async with served(tmp_path, tenant_defaults=most, **KEYED) as http:
        painted, refused, above = await post(http), await post(http, n=20), await post(http)
    told = {name.removeprefix("x-ratelimit-"): value for name, value in painted.headers.items() if "x-rate" in name}
    resets = {name: told.pop(name) for name in list(told) if name.startswith("reset")}
    assert told == {
        "limit-requests": "2",
        "remaining-requests": "1",
        "limit-images": "9",
        "remaining-images": "8",
        "limit-pixel-steps": str(100 * SMALL),
        "remaining-pixel-steps": str(97 * SMALL),
    }
    assert set(resets) == {"reset-requests", "reset-images", "reset-pixel-steps"}
    assert refused.status_code == 400
    assert (above.status_code, above.headers["x-ratelimit-remaining-requests"]) == (200, "0")


async def test_a_refusal_is_openais(tmp_path: Path) -> None:
    most = Tenant(requests_per_minute=2, pixel_steps_per_day=3 * SMALL)
    async with served(tmp_path, tenant_defaults=most, **KEYED) as http:
        assert (await post(http)).status_code == 200
        spent, limited = await post(http), await post(http)
        plain = await http.get("/v1/models", headers=ROOT)
        stranger = await post(http, key="wrong")
    assert (spent.status_code, spent.json()["error"]["code"]) == (429, "insufficient_quota")
    assert spent.json()["error"]["type"] == "insufficient_quota"
    assert spent.headers["x-should-retry"] == "false"
    assert (limited.status_code, limited.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert limited.json()["error"]["type"] == "rate_limit_error"
    for answer in (spent, limited):
        assert 1 <= int(answer.headers["retry-after"]) <= 120
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
    assert not [name for answer in (plain, stranger) for name in answer.headers if name.startswith("x-ratelimit")]


async def test_a_days_pixel_steps_survive_a_restart_and_are_shown(tmp_path: Path) -> None:
    async with served(tmp_path, **KEYED) as http:
        grant = {"tenant": "art", "limits": {"pixel_steps_per_day": 2 * 3 * SMALL}}
        made = (await http.post("/v1/admin/keys", json=grant, headers=ROOT)).json()
        assert made["limits"] == grant["limits"]
        assert (await post(http, made["key"])).status_code == 200
    async with served(tmp_path, **KEYED) as http:
        assert [(await post(http, made["key"])).status_code for _ in range(2)] == [200, 429]
        used = (await http.get("/v1/admin/usage", params={"tenant": "art"}, headers=ROOT)).json()
        assert (
            await http.get("/v1/admin/usage", headers={"authorization": f"Bearer {made['key']}"})
        ).status_code == 403
    (row,) = used["data"]
    assert (row["key_id"], row["requests"], row["images"], row["pixel_steps"]) == (made["id"], 3, 2, 2 * 3 * SMALL)
    assert (used["first_id"], used["has_more"]) == (row["id"], False)


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"requests_per_minute": -1}, "limits.requests_per_minute"),
        ({"max_n": "two"}, "limits.max_n"),
        ({"most": 1}, "limits.most"),
        (5, "limits"),
    ],
    ids=str,
)
async def test_limits_of_a_key_that_cannot_be_are_refused(tmp_path: Path, said: object, param: str) -> None:
    async with served(tmp_path, **KEYED) as http:
        answer = await http.post("/v1/admin/keys", json={"tenant": "art", "limits": said}, headers=ROOT)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


async def test_what_was_painted_before_takes_no_pixel_steps(tmp_path: Path) -> None:
    tenant = Tenant(pixel_steps_per_day=3 * SMALL, images_per_minute=3)
    async with gateway_kit(tmp_path, tenants={"me": tenant}) as kit:
        assert await outcomes(kit, 3, seed=7) == ["painted"] * 3
        assert await outcome(kit, seed=8, n=1) == "rate_limit_exceeded"
    async with gateway_kit(tmp_path, tenants={"me": Tenant(pixel_steps_per_day=3 * SMALL)}) as kit:
        assert await outcomes(kit, 2, seed=7) == ["painted"] * 2
        assert await outcome(kit, seed=8) == "insufficient_quota"
