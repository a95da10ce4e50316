"""Whoever logs never waits: lines queue up to a bound, are dropped and counted beyond it, and keep their order."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator

import pytest

from sdxl_gateway.config import Telemetry
from sdxl_gateway.telemetry import log_writer
from sdxl_gateway.telemetry.log_writer import LogWriter, flush_logs
from sdxl_gateway.telemetry.logs import configure_logs
from sdxl_gateway.telemetry.metrics import Metrics

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A pipe that takes 4 KiB before its writer waits."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for end in (reading, writing):
        os.close(end)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 60.0)


def logger_to(writer: LogWriter) -> logging.Logger:
    logger = logging.Logger("of its own")
    logger.addHandler(writer)
    return logger


def all_read(writer: LogWriter, pipe: Pipe) -> list[str]:
    """Everything the writer has, read while it is flushed; a last line says that it was the last."""
    found: list[bytes] = []

    def read() -> None:
        while not (found and found[-1].endswith(b"END\n")):
            found.append(os.read(pipe[0], 65536))

    reader = threading.Thread(target=read)
    reader.start()
    writer.flush()
    os.write(pipe[1], b"END\n")
    reader.join(60)
    return b"".join(found).decode().splitlines()[:-1]


@pytest.mark.usefixtures("patience")
def test_nobody_reads_nobody_waits_and_later_all_is_accounted_for(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1], max_waiting_bytes=50_000)
    logger = logger_to(writer)
    for number in range(10_000):
        logger.info("line %06d", number)
    dropped = writer.dropped_lines
    assert 0 < dropped < 10_000

    lines = all_read(writer, pipe)
    told = [line for line in lines if "dropped" in line]
    kept = [int(line.removeprefix("line ")) for line in lines if line.startswith("line ")]
    assert kept == sorted(set(kept))
    assert len(kept) + dropped == 10_000
    assert sum(int(re.findall(r"^(\d+) log lines were dropped", line)[0]) for line in told) == dropped
    assert len(lines) == len(kept) + len(told)


@pytest.mark.usefixtures("patience")
def test_once_somebody_reads_again_lines_are_taken_again(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1], max_waiting_bytes=8_000)
    logger = logger_to(writer)
    for _ in range(1_000):
        logger.info("x" * 99)
    all_read(writer, pipe)
    before = writer.dropped_lines
    logger.info("back \N{SNOWMAN} \ud800")
    assert all_read(writer, pipe) == ["back \N{SNOWMAN} \\ud800"]
    assert writer.dropped_lines == before


@pytest.mark.usefixtures("patience")
def test_many_threads_lose_nothing_and_each_keeps_its_order(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1])
    logger = logger_to(writer)

    def tell(name: str) -> None:
        for number in range(200):
            logger.info("%s %d", name, number)

    threads = [threading.Thread(target=tell, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = all_read(writer, pipe)
    for name in "abcd":
        assert [line for line in lines if line.startswith(name)] == [f"{name} {i}" for i in range(200)]
    assert (len(lines), writer.dropped_lines) == (800, 0)


def test_a_flush_does_not_wait_for_ever(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 0.01)
    writer = LogWriter(pipe[1])
    logger_to(writer).info("x" * 100_000)
    writer.flush()
    assert len(os.read(pipe[0], 200_000)) <= 4096
    # Nothing is left to write when the next test's pipe gets these numbers.
    monkeypatch.setattr(log_writer, "FLUSH_SECONDS", 60.0)
    all_read(writer, pipe)


@pytest.mark.usefixtures("patience")
def test_a_pipe_made_non_blocking_by_others_is_waited_for(pipe: Pipe) -> None:
    os.set_blocking(pipe[1], False)
    writer = LogWriter(pipe[1])
    logger = logger_to(writer)
    for number in range(100):
        logger.info("%d %s", number, "x" * 500)
    lines: list[str] = []
    while len(lines) < 100:
        try:
            lines += [line for line in os.read(pipe[0], 4096).decode().splitlines() if " x" in line]
        except BlockingIOError:
            continue
    assert [int(line.split()[0]) for line in lines] == list(range(100))


@pytest.mark.usefixtures("patience")
def test_a_reader_that_is_gone_costs_lines_only() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(writing)
    logger = logger_to(writer)
    for _ in range(3):
        logger.info("x")
    writer.flush()
    assert writer.dropped_lines == 3
    os.close(writing)


@pytest.mark.usefixtures("patience")
def test_a_line_that_cannot_be_made_says_so(pipe: Pipe, capfd: pytest.CaptureFixture[str]) -> None:
    writer = LogWriter(pipe[1])
    logger = logger_to(writer)
    logger.info("%d", "no number")
    logger.info("next")
    broken, whole = all_read(writer, pipe)
    assert broken.startswith("a log line of 'of its own' could not be made: TypeError")
    assert whole == "next"
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("patience")
def test_a_line_larger_than_all_there_is_room_for_is_dropped_and_told(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1], max_waiting_bytes=1000)
    logger_to(writer).info("x" * 1000)
    assert all_read(writer, pipe) == ["1 log lines were dropped: nobody read them"]


@pytest.mark.usefixtures("patience")
def test_closed_it_writes_what_it_has_and_takes_no_more(pipe: Pipe) -> None:
    writer = LogWriter(pipe[1])
    logger = logger_to(writer)
    logger.info("before")
    writer.close()
    logger.info("after")
    assert all_read(writer, pipe) == ["before"]
    assert writer.dropped_lines == 1


@pytest.mark.usefixtures("logs_as_they_were")
def test_what_stands_in_the_place_of_stderr_gets_the_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(sys, "stderr", told)
    configure_logs(Telemetry())
    logging.getLogger("house").info("told")
    assert "told" in told.getvalue()


@pytest.mark.usefixtures("logs_as_they_were")
def test_what_the_servers_own_log_drops_is_a_metric(capfd: pytest.CaptureFixture[str]) -> None:
    configure_logs(Telemetry())
    writer = logging.getLogger().handlers[0]
    assert isinstance(writer, LogWriter)
    metrics = Metrics([], 0)
    logging.getLogger("house").info("told")
    flush_logs()
    assert "told" in capfd.readouterr().err
    assert metrics.registry.get_sample_value("sdxl_gateway_log_lines_dropped_total") == 0
    writer.close()
    logging.getLogger("house").info("lost")
    assert metrics.registry.get_sample_value("sdxl_gateway_log_lines_dropped_total") == 1
