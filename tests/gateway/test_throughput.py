"""How much was painted since the start, and how long jobs took lately."""

from __future__ import annotations

from sdxl_gateway.core.errors import Cancelled
from sdxl_gateway.core.events import Failed, Finished, JobAccepted, Measured, Painted, StepTaken
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.gateway.throughput import RECENT_SECONDS, Recent, Throughput
from tests.kit.clock import Clock
from tests.kit.jobs import recipe


def test_pictures_and_steps_are_counted() -> None:
    done = Throughput(lambda: 0.0)
    for seed in (1, 2):
        done.on_event(Painted("a", seed, seed, Picture(1, 1, "L", b"x")))
        done.on_event(Measured("0", StepTaken(0.1, lanes=3, work=1.0)))
    assert (done.pictures, done.steps) == (2, 6)


def test_a_job_took_as_long_as_its_caller_waited_and_is_forgotten_in_time() -> None:
    clock = Clock(0.0)
    done = Throughput(clock)
    assert done.recent == Recent(0, None, None)
    for number in range(1, 21):
        done.on_event(JobAccepted(str(number), "art", recipe(), (), 0.0))
        done.on_event(JobAccepted(f"{number} cancelled", "art", recipe(), (), 0.0))
        clock.now += number
        done.on_event(Failed(f"{number} cancelled", Cancelled("gone")))
        done.on_event(Finished(str(number)))
    assert done.recent == Recent(20, 10.0, 19.0)
    clock.now += RECENT_SECONDS - 19.5
    assert done.recent == Recent(1, 20.0, 20.0)
    clock.now += 20.0
    assert done.recent == Recent(0, None, None)
