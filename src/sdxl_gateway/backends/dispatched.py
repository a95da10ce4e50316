"""What every Backend here has in common: a dispatcher that jobs are asked of, wherever its engines are."""

from __future__ import annotations

from sdxl_gateway.core.job import Job
from sdxl_gateway.jobs.dispatcher import Dispatcher
from sdxl_gateway.jobs.subscription import Subscription


class Dispatched:
    """A core Backend but for `start` and `stop`."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    def drain(self, reason: str) -> None:
        """Ends every job with Unavailable, at once; the engines stay until `stop`."""
        self._dispatcher.drain(reason)

    async def submit(self, job: Job) -> Subscription:
        """The job's events, to the last. Raises Busy or Unavailable when it cannot enter the queue."""
        return self._dispatcher.submit(job)

    def cancel(self, job_id: str) -> None:
        """The job's last event will be Failed(Cancelled) if it is still going."""
        self._dispatcher.cancel(job_id)

    @property
    def ready(self) -> bool:
        """Some engine can paint now."""
        return self._dispatcher.ready

    @property
    def waiting(self) -> int:
        """Jobs no engine has begun."""
        return self._dispatcher.waiting

    @property
    def running(self) -> int:
        """Jobs an engine has begun."""
        return self._dispatcher.running

    @property
    def wait_seconds(self) -> float:
        """Predicted, for a job behind all of these."""
        return self._dispatcher.backlog_seconds
