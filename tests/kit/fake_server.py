"""A whole server whose engine process paints grey in no time: `python -m tests.kit.fake_server FOLDER PORT`."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from sdxl_gateway.app import build_app
from sdxl_gateway.backends.process.backend import ProcessBackend
from sdxl_gateway.config import DEMO_LORAS, Engine, EngineProcess, Limits, Loras, Settings
from sdxl_gateway.core.listeners import EngineListener

FAKE = (sys.executable, "-m", "tests.backends.fake_engine_process")


def backend(engine: EngineProcess, limits: Limits, listener: EngineListener) -> ProcessBackend:
    """As a server has it, but for what runs in the process."""
    return ProcessBackend([engine], queue_size=limits.queue_size, listener=listener, command=FAKE)


def main(folder: Path, port: int) -> None:
    settings = Settings(
        data_directory=folder / "data",
        loras=Loras(directory=DEMO_LORAS, watch=False),
        engine=Engine(restart_backoff_seconds=0.05),
    )
    uvicorn.run(build_app(settings, backend), port=port, log_level="error")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
