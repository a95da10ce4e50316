"""Tests api/http/wrong_keys.py and addresses.py: who tries keys is slowed down, who has one is not."""

from __future__ import annotations

from typing import Any

import pytest

from sdxl_gateway.api.http.addresses import counted_as
from sdxl_gateway.api.http.wrong_keys import MAX_ADDRESSES, WrongKeys
from tests.kit.api import GENERATE, client, served_api

KEYED: dict[str, Any] = {"auth": {"api_keys": ["alpha"], "wrong_keys_per_minute": 3}}
WRONG, RIGHT = {"authorization": "Bearer wrong"}, {"authorization": "Bearer alpha"}


async def test_wrong_keys_are_slowed_down_and_right_ones_never() -> None:
    served = served_api(**KEYED)
    async with client(served) as http:
        wrong = [await http.post(GENERATE, headers=WRONG) for _ in range(5)]
        elsewhere = await http.get("/no/such/route", headers=WRONG)
        right = [await http.post(GENERATE, json={"prompt": "a"}, headers=RIGHT) for _ in range(5)]
        none = [await http.post(GENERATE) for _ in range(5)]
    assert [answer.status_code for answer in wrong] == [401, 401, 401, 429, 429]
    assert 1 <= int(wrong[-1].headers["retry-after"]) <= 20
    assert wrong[-1].json()["error"]["type"] == "rate_limit_error"
    assert elsewhere.status_code == 429
    assert [answer.status_code for answer in right] == [200] * 5
    assert [answer.status_code for answer in none] == [401] * 5


async def test_no_limit_is_none() -> None:
    async with client(served_api(auth={"api_keys": ["alpha"], "wrong_keys_per_minute": 0})) as http:
        assert {(await http.post(GENERATE, headers=WRONG)).status_code for _ in range(50)} == {401}


def test_an_address_may_try_again_after_the_time_it_was_told() -> None:
    now = 0.0
    keys = WrongKeys(3, clock=lambda: now)
    assert [keys.wait_seconds("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert keys.wait_seconds("a") == pytest.approx(20.0)
    assert keys.wait_seconds("b") == 0.0
    now = 20.0
    assert keys.wait_seconds("a") == 0.0
    assert keys.wait_seconds("a") == pytest.approx(20.0)
    now = 3600.0
    assert [keys.wait_seconds("a") for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_table_is_bounded() -> None:
    keys = WrongKeys(3, clock=lambda: 0.0)
    for index in range(2 * MAX_ADDRESSES):
        keys.wait_seconds(str(index))
    assert len(keys._clean_at) == MAX_ADDRESSES


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_a_client_is_counted_by_what_it_has_to_itself(address: str, expected: str) -> None:
    assert counted_as(address) == expected
