"""More than the server can take: what is too much is turned away at once, the rest is painted, health stays."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.kit.live_pictures import farthest, pixels
from tests.kit.loopback import loopback
from tests.kit.servers import Server, until

GENERATE = "/v1/images/generations"


def generate(one: Server, steps: int, seed: int, **more: str) -> httpx.Response:
    said = {"prompt": "a red circle", "steps": steps, "seed": seed, "response_format": "b64_json", **more}
    return loopback.post(one.url + GENERATE, json=said, timeout=120)


def test_a_flood_is_turned_away_at_the_door(narrow: Server) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda seed: generate(narrow, 5, seed), range(12)))

    painted = [answer for answer in answers if answer.status_code == 200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(painted) + len(refused) == 12
    assert len(painted) >= 2
    assert len(refused) >= 1
    for answer in refused:
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["error"]["type"] == "rate_limit_error"
    pictures = {answer.json()["data"][0]["b64_json"] for answer in painted}
    assert len(pictures) == len(painted)
    assert all(pixels(picture).shape == (256, 256, 3) for picture in pictures)
    until(narrow.is_idle)
    assert generate(narrow, 2, 1).status_code == 200


def burst(one: Server, requests: int, at_once: int) -> list[str]:
    """The pictures that equal requests of one seed got."""
    with ThreadPoolExecutor(at_once) as pool:
        answers = list(pool.map(lambda _: generate(one, 2, 7, size="64x64"), range(requests)))
    assert [answer.status_code for answer in answers] == [200] * requests
    return [answer.json()["data"][0]["b64_json"] for answer in answers]


def test_equal_seeded_requests_in_one_burst_are_a_rounding_apart_at_most(live: Server) -> None:
    (alone,) = burst(live, 1, 1)
    for picture in set(burst(live, 64, 64)):
        assert farthest(pixels(picture), pixels(alone)) <= 1


def test_equal_seeded_requests_in_batches_of_one_size_get_equal_bytes(narrow: Server) -> None:
    assert len(set(burst(narrow, 12, 2))) == 1


def test_health_is_told_while_a_picture_is_painted(narrow: Server) -> None:
    before = narrow.metric("sdxl_gateway_denoise_steps_total")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(generate, narrow, 20, 1)
        until(lambda: narrow.metric("sdxl_gateway_denoise_steps_total") > before)
        told = [loopback.get(narrow.url + path).status_code for path in ("/healthz", "/readyz", "/v1/models")]
        was_painting = not running.done()

    assert told == [200, 200, 200]
    assert was_painting
    assert running.result().status_code == 200
