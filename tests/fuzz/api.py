"""Holds a server to its own /openapi.json with schemathesis: `make fuzz-api`. The engine is a fake."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import uvicorn
from pydantic import SecretStr

from sdxl_gateway.app import build_app
from sdxl_gateway.backends.fake_engine import open_fake_engine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.config import Auth, CheckpointFolder, EngineProcess, Limits, Loras, Safety, Settings, Telemetry
from sdxl_gateway.core.listeners import EngineListener
from sdxl_gateway.core.ports import Backend
from sdxl_gateway.core.safety import Policy
from tests.fuzz.things import FLAGGED, checkpoints, kept_things

ADMIN_KEY = "root"
LEFT_OUT = "unsupported_method,positive_data_acceptance"
"""A verb beside those of a path is a 405 in OpenAI's shape; and a schema cannot say that a picture has to be one."""


def _backend(_: EngineProcess, limits: Limits, listener: EngineListener) -> Backend:
    return LocalBackend(open_fake_engine, queue_size=limits.queue_size, listener=listener)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the whole application over a fake engine; all that it keeps is in `folder`."""
    settings = Settings(
        data_directory=folder / "data",
        loras=Loras(directory=folder / "loras"),
        checkpoint_folder=CheckpointFolder(directory=checkpoints(folder / "checkpoints")),
        safety=Safety(policy=Policy.FLAG, deny_words=(FLAGGED,)),
        auth=Auth(api_keys=(SecretStr("key"),), admin_keys=(SecretStr(ADMIN_KEY),), wrong_keys_per_minute=0),
        telemetry=Telemetry(log_level="error"),
    )
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(build_app(settings, _backend), log_config=None, access_log=False))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.05)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def configured(folder: Path, things: Mapping[str, Sequence[str]]) -> Path:
    """A file that has schemathesis ask for things that there are, more often than not."""
    words = [f"[dictionaries.{name}]\nvalues = {list(ids)!r}" for name, ids in things.items()]
    places = [f'"path.{name}" = {{ dictionary = "{name}", probability = 0.7 }}' for name in things]
    places.append('"body.input_file_id" = { dictionary = "file_id", probability = 0.7 }')
    path = folder / "schemathesis.toml"
    path.write_text("\n".join([*words, "[parameters]", *places]))
    return path


def main() -> int:
    """schemathesis's exit status; arguments are passed on to it."""
    with TemporaryDirectory() as folder, served(Path(folder)) as url:
        config = configured(Path(folder), kept_things(url, ADMIN_KEY))
        tool = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
        flags = ["--header", f"Authorization: Bearer {ADMIN_KEY}", "--checks", "all", "--exclude-checks", LEFT_OUT]
        command = [*tool, "run", f"{url}/openapi.json", *flags, "--request-timeout", "30", *sys.argv[1:]]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
