"""W3C's trace context: what is read, what goes on, and which traces are sampled."""

from __future__ import annotations

import pytest

from sdxl_gateway.core.trace import Sampling, StageEnded, Trace, current, following, staged

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01"


def test_a_header_is_read_and_said_again() -> None:
    read = Trace.read(HEADER, "vendor=1")
    assert read == Trace(TRACE, SPAN, sampled=True, state="vendor=1")
    assert read.headers == {"traceparent": HEADER, "tracestate": "vendor=1"}
    unsampled = Trace.read(f"00-{TRACE}-{SPAN}-00")
    assert unsampled is not None
    assert not unsampled.sampled
    assert unsampled.headers == {"traceparent": f"00-{TRACE}-{SPAN}-00"}


def test_a_later_version_may_say_more() -> None:
    assert Trace.read(f"cc-{TRACE}-{SPAN}-01-what-the-future-holds") == Trace(TRACE, SPAN)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "nonsense",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}",
    ],
)
def test_what_is_no_header_counts_as_none(header: str) -> None:
    assert Trace.read(header) is None


@pytest.mark.parametrize("state", ["x" * 513, "a=ä", "a=\x01"])
def test_a_state_nobody_can_pass_on_is_left_out(state: str) -> None:
    assert Trace.read(HEADER, state) == Trace(TRACE, SPAN)


def test_a_child_is_in_the_same_trace_under_its_parent() -> None:
    parent = Trace(TRACE, SPAN, sampled=False, state="vendor=1")
    child = parent.child()
    assert (child.trace_id, child.parent_id, child.sampled, child.state) == (TRACE, SPAN, False, "vendor=1")
    assert child.span_id not in (SPAN, parent.child().span_id)


def test_so_many_are_sampled_and_a_parent_decides_for_itself() -> None:
    assert all(Sampling(1.0).begin().sampled for _ in range(50))
    assert not any(Sampling(0.0).begin().sampled for _ in range(50))
    assert 700 < sum(Sampling(0.5).begin().sampled for _ in range(2000)) < 1300
    assert Sampling(0.0).under(Trace(TRACE, SPAN)).sampled
    assert not Sampling(1.0).under(Trace(TRACE, SPAN, sampled=False)).sampled


def test_nothing_is_told_outside_a_sampled_trace() -> None:
    told: list[StageEnded] = []
    for trace in (None, Trace(TRACE, SPAN, sampled=False)):
        with following(trace), staged(told.append, "a", "finish"):
            assert current() == trace
    assert told == []
    with following(Trace(TRACE, SPAN)), staged(told.append, "a", "finish", 2):
        pass
    assert [(one.job_id, one.stage, one.index) for one in told] == [("a", "finish", 2)]
    assert current() is None
