"""The engine process's own composition, as far as it goes without loading a model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.ipc.channel import ThreadEnd, pair
from sdxl_gateway.ipc.messages import Cancel, Hello, LoadFailed, Submit
from sdxl_gateway.worker.serve import EXIT_NOT_LOADED, EXIT_ORPHANED, LoadedEngine, _load, by_own_clock
from tests.kit.jobs import job

SILENT_IMPORT = "import sys, sdxl_gateway.engine_main; sys.exit('torch' in sys.modules)"


def start(*command: str) -> tuple[ThreadEnd, subprocess.Popen[bytes]]:
    ours, theirs = pair()
    with theirs:
        fd = theirs.fileno()
        process = subprocess.Popen([sys.executable, "-m", *command, "--fd", str(fd)], pass_fds=(fd,))
    return ThreadEnd(ours), process


def test_torch_waits_for_the_settings() -> None:
    assert subprocess.run([sys.executable, "-c", SILENT_IMPORT], check=False).returncode == 0


def test_settings_of_another_version_are_refused_by_name() -> None:
    end, process = start("sdxl_gateway.engine_main")
    end.send(Hello({"unheard_of": 1}))
    said = end.receive()
    assert isinstance(said, LoadFailed)
    assert "unheard_of" in said.message
    assert process.wait(30) == EXIT_NOT_LOADED
    end.close()


def test_what_an_operator_has_to_change_is_a_sentence_and_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def refused(*_: object) -> LoadedEngine[Any]:
        raise CheckpointProblem("engine.device is 'cuda:9', but torch finds no such device here.")

    ours, theirs = pair()
    with ours, theirs:
        assert _load(ThreadEnd(theirs), Hello({}), lambda _: None, refused) is None
        said = ThreadEnd(ours).receive()
    assert said == LoadFailed("engine.device is 'cuda:9', but torch finds no such device here.")
    assert caplog.records == []


def test_an_orphan_ends_and_ctrl_c_is_not_its_business() -> None:
    end, process = start("tests.backends.fake_engine_process")
    end.send(Hello({}))
    assert end.receive() is not None
    os.kill(process.pid, signal.SIGINT)
    assert end.receive() is not None
    end.close()
    assert process.wait(30) == EXIT_ORPHANED


@pytest.mark.parametrize("set_forward_by_seconds", [0.0, 3600.0, -3600.0])
def test_a_job_is_timed_by_the_steady_clock_from_when_it_comes(
    monkeypatch: pytest.MonkeyPatch, set_forward_by_seconds: float
) -> None:
    sent = job(arrived=time.time() - 2, deadline=time.time() + 30)
    taken = by_own_clock(Submit(sent))
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + set_forward_by_seconds)
    assert isinstance(taken, Submit)
    assert taken.job.deadline - time.monotonic() == pytest.approx(30, abs=5)
    assert time.monotonic() - taken.job.arrived == pytest.approx(2, abs=5)
    assert by_own_clock(Cancel("job-1")) == Cancel("job-1")


def test_no_deadline_stays_none() -> None:
    taken = by_own_clock(Submit(job()))
    assert isinstance(taken, Submit)
    assert taken.job.deadline == float("inf")


UNCOLLECTED = """
import gc
from sdxl_gateway.engine_main import uncollected
with uncollected():
    assert not gc.isenabled()
    stays = [[] for _ in range(1000)]
assert gc.isenabled() and gc.get_freeze_count() > 1000
"""


def test_what_is_imported_is_not_looked_through_by_the_collector() -> None:
    assert subprocess.run([sys.executable, "-c", UNCOLLECTED], check=False).returncode == 0
