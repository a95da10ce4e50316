"""What `serve` says before it is ready: whether it can listen there, and where the model named is no file."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdxl_gateway.cli import app, serving

runner = CliRunner()


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_server_at_the_same_port_is_not_taken_for_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    announced = threading.Event()
    monkeypatch.setattr(serving, "_announce", lambda *_: announced.set())
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        told = runner.invoke(app, ["serve", "--port", str(port)])

    assert told.exit_code == 2
    assert told.stderr == f"Cannot listen on 127.0.0.1, port {port}: Address already in use.\n"
    assert not announced.is_set()


def test_a_host_that_is_none_is_told_in_a_sentence() -> None:
    told = runner.invoke(app, ["serve", "--port", "0", "--host", "not a host"])
    assert told.exit_code == 2
    assert told.stderr.startswith("Cannot listen on not a host, port 0: ")


@pytest.mark.parametrize("model", ["./pony.safetensors", "/nowhere/pony", "~/pony.safetensors", "../pony"])
def test_a_model_that_is_no_file_is_not_looked_for_on_the_hub(model: str) -> None:
    told = runner.invoke(app, ["serve", "--model", model])
    assert (told.exit_code, told.stderr) == (2, f"--model: there is no file or folder {model}.\n")
