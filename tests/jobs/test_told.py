"""What a second engine says of a job again is not told again."""

from __future__ import annotations

from sdxl_gateway.core.events import Finished, JobEvent, Painted, Previewed, Progressed, Started
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.jobs.told import Told

GREY = Picture(1, 1, "L", b"0")


def test_each_thing_is_news_once() -> None:
    first: list[JobEvent] = [
        Started("a", 0.5),
        Progressed("a", 0, 1, 3),
        Progressed("a", 1, 1, 3),
        Previewed("a", 0, 0, GREY),
        Progressed("a", 0, 2, 3),
        Painted("a", 0, 7, GREY),
    ]
    more: list[JobEvent] = [
        Previewed("a", 0, 1, GREY),
        Progressed("a", 0, 3, 3),
        Painted("a", 1, 8, GREY),
        Finished("a"),
    ]
    told = Told()
    assert all(map(told.is_news, first))
    assert not any(map(told.is_news, first))
    assert all(map(told.is_news, more))
