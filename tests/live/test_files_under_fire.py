"""LoRA files cut, overwritten, taken away and renamed while they are read and painted with: never a mixture."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, pairwise
from pathlib import Path

import httpx
import pytest

from tests.kit.live_pictures import farthest, pixels
from tests.kit.servers import Server, until

STEPS = "sdxl_gateway_denoise_steps_total"
LONG_STEPS = 60
VERSIONS = ("sunset", "stripes", "outline")
REWRITES = 30
GONE, BROKEN, ANOTHER = (404, "model_not_found"), (400, "invalid_lora"), (200, None)


@pytest.fixture
def target(live: Server, http: httpx.Client) -> Iterator[Path]:
    """A LoRA file in a running server's folder, known to it."""
    path = live.loras / "fire.safetensors"
    shutil.copy(live.loras / "sunset.safetensors", path)
    until(lambda: http.get("/v1/models/fire").status_code == 200, seconds=30)
    yield path
    for left in live.loras.glob("fire*"):
        left.unlink()
    until(lambda: http.get("/v1/models/fire").status_code == 404, seconds=30)


@pytest.fixture(scope="module")
def golden(live: Server, http: httpx.Client) -> str:
    """The long picture with the file as it comes, painted once."""
    return picture(ask(http, "demo+sunset", LONG_STEPS))


def ask(http: httpx.Client, model: str, steps: int = 2) -> httpx.Response:
    said = {"prompt": "a red circle", "size": "64x64", "steps": steps, "seed": 7, "response_format": "b64_json"}
    return http.post("/v1/images/generations", json={**said, "model": model})


def picture(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"][0]["b64_json"])


def overwritten_in_place(path: Path) -> None:
    shutil.copyfile(path.with_name("stripes.safetensors"), path)


def replaced(path: Path) -> None:
    shutil.copyfile(path.with_name("stripes.safetensors"), path.with_name("fire-new"))
    path.with_name("fire-new").replace(path)


HARMS: dict[str, tuple[Callable[[Path], object], tuple[int, str | None]]] = {
    "cut short": (lambda path: os.truncate(path, path.stat().st_size // 2), BROKEN),
    "emptied": (lambda path: os.truncate(path, 0), BROKEN),
    "made rubbish": (lambda path: path.write_bytes(b"rubbish" * 1000), BROKEN),
    "overwritten in place": (overwritten_in_place, ANOTHER),
    "replaced": (replaced, ANOTHER),
    "taken away": (Path.unlink, GONE),
    "renamed": (lambda path: path.rename(path.with_name("fire-later.safetensors")), GONE),
}


@pytest.mark.parametrize("harm", HARMS)
def test_the_running_picture_is_right_and_the_next_request_meets_the_file_as_it_is(
    live: Server, http: httpx.Client, target: Path, golden: str, harm: str
) -> None:
    do_harm, (status, code) = HARMS[harm]
    base = picture(ask(http, "demo"))
    before = live.metric(STEPS)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, http, "demo+fire", LONG_STEPS)
        until(lambda: live.metric(STEPS) > before)
        do_harm(target)
        was_painting = not running.done()
        after = ask(http, "demo+fire")
        finished = running.result()

    assert was_painting
    assert picture(finished) == golden
    assert after.status_code == status, after.text
    if code is None:
        assert picture(after) == picture(ask(http, "demo+stripes"))
    else:
        assert (after.json()["error"]["code"], after.json()["error"]["param"]) == (code, "model")
    assert picture(ask(http, "demo")) == base


def test_a_file_rewritten_all_the_time_is_one_of_its_versions_or_none(
    live: Server, http: httpx.Client, target: Path
) -> None:
    """Copies in place, cuts and renames follow one another while clients ask for it."""
    base = picture(ask(http, "demo"))
    versions = [pixels(picture(ask(http, f"demo+{name}"))) for name in VERSIONS]

    def rewrite() -> None:
        for turn, name in zip(range(REWRITES), cycle(VERSIONS), strict=False):
            shutil.copyfile(live.loras / f"{name}.safetensors", target)
            time.sleep(0.3 if turn % 5 == 4 else 0.03)
            if turn % 4 == 3:
                os.truncate(target, target.stat().st_size - 1000)
            if turn % 7 == 6:
                target.rename(target.with_name("fire-later.safetensors"))
        overwritten_in_place(target)

    def ask_meanwhile() -> list[httpx.Response]:
        answers = []
        while not rewriting.done():
            answers.append(ask(http, "demo+fire"))
        return answers

    with ThreadPoolExecutor(5) as pool:
        rewriting = pool.submit(rewrite)
        asking = [pool.submit(ask_meanwhile) for _ in range(4)]
        answers = [answer for asked in asking for answer in asked.result()]
        rewriting.result()

    painted = {picture(answer) for answer in answers if answer.status_code == 200}
    refused = [(answer.status_code, answer.json()["error"]["code"]) for answer in answers if answer.status_code != 200]
    assert set(refused) <= {GONE, BROKEN}
    until(lambda: ask(http, "demo+fire").status_code == 200, seconds=30)
    # Those that were painted together may differ by one rounding from those painted alone.
    for one in {*painted, picture(ask(http, "demo+fire"))}:
        assert min(farthest(pixels(one), version) for version in versions) <= 1
    assert picture(ask(http, "demo")) == base
    assert live.process.poll() is None


@pytest.mark.parametrize("steps", [3, 8])
def test_a_copy_still_being_written_is_not_listed(live: Server, http: httpx.Client, steps: int) -> None:
    """Neither listed nor painted with at any moment before its last byte; a moment later it is a model name."""
    whole = (live.loras / "sunset.safetensors").read_bytes()
    path = live.loras / f"slow{steps}.safetensors"
    name = path.stem
    bounds = [len(whole) * step // steps for step in range(steps + 1)]
    try:
        with path.open("wb", buffering=0) as file:
            for start, end in pairwise(bounds):
                assert name not in listed(http, "/v1/models") | listed(http, "/v1/loras")
                refused = ask(http, f"demo+{name}")
                assert (refused.status_code, refused.json()["error"]["code"]) in (GONE, BROKEN)
                file.write(whole[start:end])
                if end < len(whole):
                    until(lambda: problem(http, path.name), seconds=30)
        until(lambda: name in listed(http, "/v1/models") & listed(http, "/v1/loras"), seconds=30)
        assert problem(http, path.name) is None
        assert picture(ask(http, f"demo+{name}")) == picture(ask(http, "demo+sunset"))
    finally:
        path.unlink()


def listed(http: httpx.Client, path: str) -> set[str]:
    return {one["id"] for one in http.get(path).json()["data"]}


def problem(http: httpx.Client, file: str) -> str | None:
    """Why the list says that this file is no LoRA."""
    problems = http.get("/v1/loras").json()["problems"]
    return next((one["message"] for one in problems if one["file"] == file), None)
