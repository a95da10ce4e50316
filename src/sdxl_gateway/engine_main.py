"""Takes one end of a channel by its number (--fd N); is an engine process until it is stopped or orphaned."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from sdxl_gateway.config import EngineProcess
from sdxl_gateway.core.garbage import settle
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.ipc.messages import Ready
from sdxl_gateway.telemetry.device import gpu_of, read_gpus
from sdxl_gateway.telemetry.logs import configure_logs
from sdxl_gateway.worker.guard import Reading
from sdxl_gateway.worker.serve import LoadedEngine, serve

TURN_SECONDS = 0.0005
"""How long a thread that loads or compiles keeps the step loop waiting for the interpreter, which it lets go of at each
of a step's calls: Python's own 5 ms make ten times as much of a step."""


def main() -> int:
    """The process's exit status."""
    parser = argparse.ArgumentParser(prog="sdxl_gateway.engine_main", description=__doc__)
    parser.add_argument("--fd", type=int, required=True, help="the channel's end, inherited from the server")
    return serve(parser.parse_args().fd, open_for)


@contextmanager
def uncollected() -> Iterator[None]:
    """What is made inside stays: the collector, which would look through it again and again, never does.

    It takes a fifth off the import of torch, diffusers and transformers.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def open_for(settings: dict[str, Any], measure: Measure) -> LoadedEngine[Any]:
    """The engine those settings describe; torch is imported here, once they are known to be sound."""
    config = EngineProcess.model_validate(settings)
    configure_logs(config.telemetry)
    sys.setswitchinterval(TURN_SECONDS)
    with uncollected():
        from sdxl_gateway.engine.load import open_engine

    engine = open_engine(config, measure)
    settle()
    ready = Ready(engine.device, engine.dtype, engine.checkpoints, engine.card)
    read = partial(_reading, engine.device) if engine.device.startswith("cuda") else None
    return LoadedEngine(engine, ready, engine.lanes, config.engine.load_wait_seconds, config.guard, read)


def _reading(device: str) -> Reading | None:
    gpu = gpu_of(device, read_gpus())
    return None if gpu is None else Reading(gpu.celsius, gpu.memory_used_bytes / max(gpu.memory_total_bytes, 1))


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    sys.stderr.flush()
    # torch's own threads may abort a process whose interpreter is taken down around them; nothing is left to save.
    os._exit(status)
