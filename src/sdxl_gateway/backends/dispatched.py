"""The common part of all backends: a dispatcher in front of their engines."""

from __future__ import annotations

from sdxl_gateway.core.job import Job
from sdxl_gateway.jobs.dispatcher import Dispatcher
from sdxl_gateway.jobs.subscription import Subscription


class Dispatched:
    """A core Backend without `start` and `stop`."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def drain(self, reason: str) -> None:
        """End every job with Unavailable, at once; the engines run until `stop`."""
        self._dispatcher.drain(reason)

    async def submit(self, job: Job) -> Subscription:
        """Put the job into the queue; its events. Raises Busy or Unavailable if it cannot be queued."""
        return self._dispatcher.submit(job)

    def cancel(self, job_id: str) -> None:
        """Ask the job to end; its last event is then Failed(Cancelled), unless it ended before."""
        self._dispatcher.cancel(job_id)

    @property
    def ready(self) -> bool:
        """Whether an engine can paint now."""
        return self._dispatcher.ready

    @property
    def waiting(self) -> int:
        """Jobs that no engine has begun."""
        return self._dispatcher.waiting

    @property
    def running(self) -> int:
        """Jobs that an engine has begun."""
        return self._dispatcher.running

    @property
    def wait_seconds(self) -> float:
        """The predicted time until an engine is free for a new job."""
        return self._dispatcher.backlog_seconds
