"""A recording never overlaps with a thread that waits for the whole device, which waits for its end."""

from __future__ import annotations

from threading import Event, Thread

from sdxl_gateway.engine.quiet import Quiet


def test_recording_beside_a_disturbance_is_told_so() -> None:
    quiet = Quiet()
    with quiet.disturbed(), quiet.disturbed(), quiet.recording() as undisturbed:
        assert not undisturbed
    with quiet.recording() as undisturbed:
        assert undisturbed


def test_a_disturbance_begins_when_the_recording_has_ended() -> None:
    quiet, began = Quiet(), Event()

    def disturb() -> None:
        with quiet.disturbed():
            began.set()

    thread = Thread(target=disturb)
    with quiet.recording() as undisturbed:
        assert undisturbed
        thread.start()
        assert not began.wait(0.05)
    assert began.wait(5)
    thread.join()


def test_a_fault_leaves_it_as_it_was() -> None:
    quiet = Quiet()
    for context in (quiet.disturbed, quiet.recording):
        try:
            with context():
                raise RuntimeError
        except RuntimeError:
            pass
    with quiet.recording() as undisturbed:
        assert undisturbed
