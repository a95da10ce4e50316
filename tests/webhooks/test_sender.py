"""Receivers of webhooks: told once, told again, given up; whatever they, the network or the server itself do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import openai
import pytest

from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.webhook import DeliveryState
from tests.kit.other_server import OtherServer, dripping, other_server, redirecting, saying, silent
from tests.kit.webhooks import COMPLETED, START, headers, ids, until, webhook_kit

OK = saying(b"")
HOUR = 3600.0


def got(receiver: OtherServer, number: int) -> Callable[[], Awaitable[bool]]:
    async def asked() -> bool:
        return len(receiver.heads) >= number

    return asked


async def test_openais_own_library_accepts_it(tmp_path: Path) -> None:
    async with other_server({"/hook": OK}) as receiver, webhook_kit(tmp_path) as kit:
        kit.now = time.time()
        await kit.enqueue(receiver.url("/hook"), "job_1", status="completed")
        async with kit.sending([receiver.host]):
            await kit.quiet()
        (secret,) = await kit.store.secrets("art")
    (head,), (body,) = receiver.heads, receiver.bodies
    event = openai.OpenAI(api_key="-").webhooks.unwrap(body, headers(head), secret=secret)
    told = event.model_dump()
    assert (told["type"], told["object"], told["data"]) == (COMPLETED, "event", {"id": "job_1", "status": "completed"})
    assert headers(head)["content-type"] == "application/json"
    with pytest.raises(openai.InvalidWebhookSignatureError):
        openai.OpenAI(api_key="-").webhooks.unwrap(body + b" ", headers(head), secret=secret)


async def test_both_secrets_count_while_one_takes_the_others_place(tmp_path: Path) -> None:
    async with other_server({"/hook": OK}) as receiver, webhook_kit(tmp_path) as kit:
        kit.now = time.time()
        (old,) = await kit.store.secrets("art")
        new = await kit.store.new_secret("art", grace_seconds=60)
        assert await kit.store.secrets("art") == [new, old]
        assert await kit.store.secrets("ops") != [old]
        await kit.enqueue(receiver.url("/hook"), "job_1")
        async with kit.sending([receiver.host]):
            await kit.quiet()
        kit.now += 61
        assert await kit.store.secrets("art") == [new]
    for secret in (new, old):
        openai.OpenAI(api_key="-").webhooks.unwrap(receiver.bodies[0], headers(receiver.heads[0]), secret=secret)
    assert new.startswith("whsec_")


async def test_a_receiver_that_was_down_for_an_hour_gets_all_of_it_once(tmp_path: Path) -> None:
    async with other_server({}) as once:
        port = once.port
    url, private = f"http://127.0.0.1:{port}/hook", [f"127.0.0.1:{port}"]
    async with webhook_kit(tmp_path) as kit, kit.sending(private):
        sent = [await kit.enqueue(url, f"job_{number}") for number in range(20)]
        while kit.now < START + HOUR:
            await kit.later(60)
        assert set(kit.heard) == {"retried"}
        async with other_server({"/hook": OK}, port) as receiver:
            while kit.now < START + 80 * HOUR:
                await kit.later(HOUR / 2)
        found, _ = await kit.store.page("art", 50)
    assert sorted(ids(receiver)) == sorted(sent)
    assert len(set(sent)) == 20
    assert {(one.state, one.attempts, one.status) for one in found} == {(DeliveryState.DELIVERED, 5, 200)}


async def test_the_same_event_of_the_same_thing_is_sent_once(tmp_path: Path) -> None:
    async with other_server({"/hook": OK}) as receiver, webhook_kit(tmp_path) as kit, kit.sending([receiver.host]):
        first = await kit.enqueue(receiver.url("/hook"), "job_1")
        await kit.quiet()
        await kit.later(23 * HOUR)
        assert await kit.store.forget_before(kit.now) == 0
        assert await kit.enqueue(receiver.url("/hook"), "job_1") == first
        await kit.later(HOUR / 2)
        other = await kit.enqueue(receiver.url("/hook"), "job_1", event="image.job.failed")
        await kit.quiet()
    assert ids(receiver) == [first, other]


async def test_a_receiver_that_is_gone_is_left_alone_until_somebody_asks(tmp_path: Path) -> None:
    answers = {"/hook": saying(b"", "410 Gone"), "/other": OK}
    async with other_server(answers) as receiver, webhook_kit(tmp_path) as kit, kit.sending([receiver.host]):
        first = await kit.enqueue(receiver.url("/hook"), "job_1")
        await kit.quiet()
        second = await kit.enqueue(receiver.url("/hook"), "job_2")
        await kit.enqueue(receiver.url("/hook"), "job_3", tenant="ops")
        await kit.enqueue(receiver.url("/other"), "job_4")
        await kit.later(HOUR)
        states = {one.id: one.state for one in (await kit.store.page("art", 50))[0]}
        assert (states[first], states[second], len(receiver.heads)) == (DeliveryState.DISABLED,) * 2 + (3,)
        receiver.answers = {"/hook": OK}
        await kit.store.replay("art", second)
        await kit.quiet()
        assert (await kit.store.find("art", second)).state is DeliveryState.DELIVERED
        await kit.enqueue(receiver.url("/hook"), "job_5")
        await kit.quiet()
    assert kit.heard.count("delivered") == 3
    assert kit.heard.count("disabled") == 2


async def test_replayed_under_the_same_id(tmp_path: Path) -> None:
    async with other_server({"/hook": OK}) as receiver, webhook_kit(tmp_path) as kit, kit.sending([receiver.host]):
        sent = await kit.enqueue(receiver.url("/hook"), "job_1")
        await kit.quiet()
        await kit.later(5 * 24 * HOUR)
        again = await kit.store.replay("art", sent)
        assert (again.state, again.attempts, again.created) == (DeliveryState.PENDING, 0, START)
        await kit.quiet()
        with pytest.raises(NotFound):
            await kit.store.replay("ops", sent)
    assert ids(receiver) == [sent, sent]
    assert receiver.bodies[0] == receiver.bodies[1]


@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [("/moved", 302, None), ("/broken", 500, None), ("/silent", None, "longer than 0.2 s")],
)
async def test_what_is_no_yes_is_tried_again(
    tmp_path: Path, path: str, status: int | None, problem: str | None
) -> None:
    async with other_server({"/": OK}) as elsewhere:
        answers = {"/moved": redirecting(elsewhere.url("/")), "/broken": saying(b"", "500 Oh"), "/silent": silent}
        async with other_server(answers) as receiver, webhook_kit(tmp_path) as kit:
            sent = await kit.enqueue(receiver.url(path), "job_1")
            async with kit.sending([receiver.host, elsewhere.host], timeout_seconds=0.2):
                await kit.quiet()
                one = await kit.store.find("art", sent)
    assert (one.state, one.status, one.due) == (DeliveryState.PENDING, status, START + 5)
    assert (problem or "") in (one.problem or "")
    assert elsewhere.connections == 0


async def test_what_a_receiver_says_beside_yes_is_not_read(tmp_path: Path) -> None:
    async with other_server({"/hook": dripping}) as receiver, webhook_kit(tmp_path) as kit:
        await kit.enqueue(receiver.url("/hook"), "job_1")
        async with kit.sending([receiver.host]):
            await kit.quiet()
    assert kit.heard == ["delivered"]


async def test_an_address_inside_is_not_reached(tmp_path: Path) -> None:
    async with other_server({"/hook": OK}) as receiver, webhook_kit(tmp_path) as kit:
        sent = await kit.enqueue(receiver.url("/hook"), "job_1")
        async with kit.sending([]):
            await kit.quiet()
        problem = (await kit.store.find("art", sent)).problem
    assert (problem, receiver.connections) == (
        "Not reached: its host has an address that is not on the public internet.",
        0,
    )


async def test_receivers_that_do_not_answer_leave_room_for_those_who_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdxl_gateway.webhooks.sender.PARTING_SECONDS", 0.01)
    names = [f"dead-{number}.example" for number in range(16)]
    async with (
        other_server({"/dead": silent}) as dead,
        other_server({"/hook": OK}) as receiver,
        webhook_kit(tmp_path) as kit,
    ):
        for number in range(80):
            await kit.enqueue(f"http://{names[number % 16]}:{dead.port}/dead", f"dead_{number}")
        for number in range(20):
            await kit.enqueue(receiver.url("/hook"), f"job_{number}", tenant="ops")
        private = [receiver.host, *names]
        async with kit.sending(private, timeout_seconds=60.0, resolve=lambda host, port: ["127.0.0.1"]):
            await until(got(receiver, 20))
    assert set(kit.heard) == {"delivered"}


async def test_what_a_dead_sender_left_is_taken_up_when_its_time_is_over(tmp_path: Path) -> None:
    async with other_server({"/hook": OK}) as receiver, webhook_kit(tmp_path) as kit:
        sent = await kit.enqueue(receiver.url("/hook"), "job_1")
        await kit.database.run(
            lambda c: c.execute("UPDATE webhook_deliveries SET leased = ?, attempts = 1", (START + 65,)).rowcount
        )
        async with kit.sending([receiver.host]):
            await asyncio.sleep(0.05)
            assert receiver.heads == []
            kit.now += 66
            await until(got(receiver, 1))
            await kit.quiet()
    assert ids(receiver) == [sent]
