"""Takes a job's acceptance and who is to hear of it, tells them its life: each event, and always one last event."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sdxl_gateway.core.errors import Cancelled, EngineFault, GatewayError
from sdxl_gateway.core.events import Failed, Finished, JobAccepted, JobEvent
from sdxl_gateway.core.listeners import Listener


@asynccontextmanager
async def announced(job: JobAccepted, listener: Listener) -> AsyncIterator[Callable[[JobEvent], None]]:
    """Gives where to pass the job's events on; where none of them was the last, tells why none came.

    That is the error the context is left with, or, when it is left early otherwise, that the caller went away.
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
