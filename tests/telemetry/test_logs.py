"""One format for all lines, and nothing private in any."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from sdxl_gateway.config import Telemetry
from sdxl_gateway.core.events import EngineOpened, RequestAnswered
from sdxl_gateway.telemetry.logs import configure_logs, log_answer, log_engine

pytestmark = pytest.mark.usefixtures("logs_as_they_were")


def _lines(log_format: str = "json", log_level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logs(Telemetry.model_validate({"log_format": log_format, "log_level": log_level}), stream)
    return stream


def test_json_lines_hold_the_event_and_its_values() -> None:
    stream = _lines()
    structlog.get_logger("gateway").info("painted", seconds=1.5)

    line = json.loads(stream.getvalue())
    assert (line["event"], line["seconds"], line["level"], line["logger"]) == ("painted", 1.5, "info", "gateway")


def test_the_standard_librarys_lines_look_alike() -> None:
    stream = _lines()
    logging.getLogger("uvicorn.error").warning("port %d taken", 80)

    assert json.loads(stream.getvalue())["event"] == "port 80 taken"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_prompts_and_keys_are_hidden(log_format: str) -> None:
    stream = _lines(log_format)
    structlog.get_logger().info("asked", prompt="a private wish", api_key="sk-private", model="demo")

    assert "private" not in stream.getvalue()
    assert "demo" in stream.getvalue()


def test_lines_below_the_level_are_left_out() -> None:
    stream = _lines(log_level="error")
    structlog.get_logger().warning("slow")

    assert stream.getvalue() == ""


def test_a_librarys_line_for_each_odd_byte_is_left_out() -> None:
    stream = io.StringIO()
    configure_logs(Telemetry(log_format="json"), stream)
    logging.getLogger("python_multipart.multipart").warning("Found invalid character 13 in header at 77")
    assert stream.getvalue() == ""


def test_an_exception_is_one_json_line() -> None:
    stream = _lines()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("jobs").exception("engine ended")

    assert "ValueError: broken" in json.loads(stream.getvalue())["exception"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_an_exception_is_told_without_the_values_of_its_frames(log_format: str) -> None:
    stream, wish = _lines(log_format), "a private " + "wish"
    try:
        raise ValueError(f"broken {len(wish)}")
    except ValueError:
        logging.getLogger("jobs").exception("engine ended")
    assert "ValueError: broken 14" in stream.getvalue()
    assert wish not in stream.getvalue()


@pytest.mark.parametrize("refused", [None, "invalid_json"])
def test_an_answer_is_one_line(refused: str | None) -> None:
    stream = _lines()

    log_answer(RequestAnswered("images.edits", "m", 400, 0.12345, 0, "req_1", "key-1", painting=True, refused=refused))

    line = json.loads(stream.getvalue())
    assert line.pop("timestamp")
    assert line == {
        "event": "answered",
        "level": "info",
        "logger": "sdxl_gateway.requests",
        "request_id": "req_1",
        "operation": "images.edits",
        "status": 400,
        "seconds": 0.123,
        "tenant": "key-1",
        **({"refused": refused} if refused else {}),
    }


def test_an_answer_is_told_by_the_callers_own_name_for_it_too() -> None:
    stream = _lines()
    answered = RequestAnswered("images.edits", "m", 200, 1, 0, "req_1", "a", painting=True, client_request_id="mine-7")
    log_answer(answered)
    assert json.loads(stream.getvalue())["client_request_id"] == "mine-7"


def test_what_an_engine_paints_on_is_told() -> None:
    stream = _lines()
    log_engine(EngineOpened("0", "cuda:0", "float16", "NVIDIA H200"))
    log_engine(EngineOpened("1", "cpu", "float32", ""))

    lines = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert lines == ["engine 0 paints on cuda:0 (NVIDIA H200) in float16", "engine 1 paints on cpu in float32"]
