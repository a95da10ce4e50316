"""Announces a job to a listener, from its acceptance to its end: each event, and always exactly one last event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sdxl_gateway.core.errors import Cancelled, EngineFault, GatewayError
from sdxl_gateway.core.events import Failed, Finished, JobAccepted, JobEvent
from sdxl_gateway.core.listeners import Listener


@asynccontextmanager
async def announced(job: JobAccepted, listener: Listener) -> AsyncIterator[Callable[[JobEvent], None]]:
    """Announces the job, and yields the function that announces its events.

    When the context is left without a last event, Failed is announced: with the error that was raised, else Cancelled.
    """
    listener(job)
    ending: GatewayError | None = Cancelled("The caller went away.")

    def tell(event: JobEvent) -> None:
        nonlocal ending
        if isinstance(event, Finished | Failed):
            ending = None
        listener(event)

    try:
        yield tell
    except Exception as error:
        if ending is not None:
            ending = error if isinstance(error, GatewayError) else EngineFault("The picture was not handed out.")
        raise
    finally:
        if ending is not None:
            listener(Failed(job.job_id, ending))
