"""Runs the loop for the peer of a channel, until it is stopped or its parent is gone."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, Generic

from sdxl_gateway.config import Guard
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.core.events import Held, Measurement
from sdxl_gateway.core.ports import Canvas, CanvasT, DeviceLost, Engine, Measure
from sdxl_gateway.ipc.channel import ThreadEnd
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import Cancel, Command, Heartbeat, Hello, LoadFailed, Message, Ready, Stop, Submit
from sdxl_gateway.scheduling.costs import Costs
from sdxl_gateway.worker.guard import MachineGuard, Read
from sdxl_gateway.worker.loop import Commands, Loop, WakeUp

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
EXIT_ORPHANED = 3
EXIT_NOT_LOADED = 4
EXIT_DEVICE_LOST = 5
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, slots=True)
class LoadedEngine(Generic[CanvasT]):
    """An engine that can paint, the Ready that announces it, and how long jobs wait for their models.

    With `read`, which returns the GPU's state, painting is paused above the limits of `guard`.
    """

    engine: Engine[CanvasT]
    ready: Ready
    max_lanes: int
    load_wait_seconds: float = math.inf
    guard: Guard | None = None
    read: Read | None = None


EngineFactory = Callable[[dict[str, Any], Measure], LoadedEngine[Any]]


def serve(fd: int, open_engine: EngineFactory) -> int:
    """Hello, load, Ready, paint; returns the exit status. `open_engine` gets the settings of the Hello."""
    parent = os.getppid()
    _harden_process(parent)
    os.set_inheritable(fd, False)
    end = ThreadEnd(socket.socket(fileno=fd))
    hello = _receive_hello(end)
    if hello is None:
        return EXIT_ORPHANED
    costs = Costs()

    def measure(measurement: Measurement) -> None:
        costs.observe(measurement)
        _tell(end, measurement)

    opened = _load(end, hello, measure, open_engine)
    return EXIT_NOT_LOADED if opened is None else _run(end, opened, costs)


def _harden_process(parent: int) -> None:
    """Ignore Ctrl-C and SIGHUP, which the parent handles; write no core files with prompts; end with the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(EXIT_ORPHANED)


def _receive_hello(end: ThreadEnd) -> Hello | None:
    with suppress(Malformed):
        message = end.receive()
        if isinstance(message, Hello):
            return message
    return None


def _tell(end: ThreadEnd, message: Message) -> None:
    """Send a message; that the peer is gone is noticed by the reader, which ends the process."""
    with suppress(OSError):
        end.send(message)


def _load(end: ThreadEnd, hello: Hello, measure: Measure, open_engine: EngineFactory) -> LoadedEngine[Any] | None:
    try:
        return open_engine(hello.settings, measure)
    except StartProblem as problem:
        # A sentence for operators, which whoever started this process logs.
        _tell(end, LoadFailed(str(problem)))
        return None
    except Exception as problem:
        log.exception("the engine could not be loaded")
        _tell(end, LoadFailed(f"{type(problem).__name__}: {problem}"))
        return None


def _run(end: ThreadEnd, opened: LoadedEngine[Canvas], costs: Costs) -> int:
    commands: Commands = SimpleQueue()
    guard = _guard(end, opened, commands)
    loop = Loop(
        opened.engine,
        commands,
        lambda event: _tell(end, event),
        costs=costs,
        max_lanes=opened.max_lanes,
        load_wait_seconds=opened.load_wait_seconds,
        held=lambda: guard is not None and guard.holds,
    )
    over = Event()
    if guard is not None:
        Thread(target=guard.watching, args=(over,), name="guard", daemon=True).start()
    Thread(target=_read, args=(end, commands), name="commands", daemon=True).start()
    _tell(end, opened.ready)
    Thread(target=_beat, args=(end, loop, over), name="heartbeat", daemon=True).start()
    try:
        loop.run()
    except DeviceLost:
        log.exception("the device is lost")
        return EXIT_DEVICE_LOST
    finally:
        over.set()
    return 0


def _guard(end: ThreadEnd, opened: LoadedEngine[Canvas], commands: Commands) -> MachineGuard | None:
    """The guard, which wakes the loop at each change."""

    def changed(held: Held) -> None:
        commands.put(WakeUp())
        _tell(end, held)

    if opened.guard is None or opened.read is None:
        return None
    return MachineGuard(opened.guard, opened.read, changed)


def _read(end: ThreadEnd, commands: Commands) -> None:
    """Read commands until Stop; if the parent is gone or sends nonsense, the process ends, whatever the loop does."""
    while True:
        try:
            message = end.receive()
        except Malformed:
            log.exception("the server sent something malformed")
            message = None
        if not isinstance(message, Submit | Cancel | Stop):
            os._exit(EXIT_ORPHANED)
        commands.put(by_own_clock(message))
        if isinstance(message, Stop):
            return


def by_own_clock(command: Command) -> Command:
    """The command with a job's unix times converted to this process's monotonic clock."""
    return Submit(command.job.on_steady_clock()) if isinstance(command, Submit) else command


def _beat(end: ThreadEnd, loop: Loop[Canvas], over: Event) -> None:
    while not over.wait(HEARTBEAT_SECONDS):
        running, waiting = loop.counts()
        _tell(end, Heartbeat(loop.age_seconds(), running, waiting))
