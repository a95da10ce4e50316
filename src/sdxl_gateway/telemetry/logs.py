"""Takes the `[telemetry]` section, gives one stream of log lines, for people or as JSON; prompts and keys stay out."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from sdxl_gateway.config import Telemetry
from sdxl_gateway.core.events import EngineOpened, Event, RequestAnswered
from sdxl_gateway.core.safety import Moderated
from sdxl_gateway.telemetry.log_writer import LogWriter
from sdxl_gateway.telemetry.seldom import Seldom

PRIVATE = frozenset(
    {"prompt", "negative_prompt", "revised_prompt", "api_key", "authorization", "image", "mask", "user"}
)
HIDDEN = "[hidden]"


def configure_logs(telemetry: Telemetry, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's lines, uvicorn's included, to `stream` in one format.

    Where none is given they go to stderr, from a thread of their own: a reader that stops reading stops nothing else.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_private,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    _install(_formatter(telemetry, shared), _handler(stream))
    set_log_level(telemetry)


def set_log_level(telemetry: Telemetry) -> None:
    """Lines below that level are left out from now on."""
    logging.getLogger().setLevel(telemetry.log_level.upper())


def log_answer(event: Event) -> None:
    """One line for a request to paint: what came of it, under the name its answer carried (a Listener)."""
    if not isinstance(event, RequestAnswered) or not event.painting:
        return
    fields = {
        "operation": event.operation,
        "status": event.status,
        "seconds": round(event.seconds, 3),
        "tenant": event.tenant,
    }
    if event.refused is not None:
        fields["refused"] = event.refused
    if event.trace is not None:
        fields["trace"] = event.trace.trace_id
    if event.client_request_id is not None:
        fields["client_request_id"] = event.client_request_id
    structlog.get_logger("sdxl_gateway.requests").info("answered", request_id=event.request_id, **fields)


def log_engine(event: Event) -> None:
    """One line for an engine that was opened: on what it paints (a Listener)."""
    if isinstance(event, EngineOpened):
        logging.getLogger("sdxl_gateway.engines").info("engine %s paints on %s", event.engine_id, event)


def log_moderated(event: Event) -> None:
    """One line for what a judge found, without a word of the prompt (a Listener)."""
    if isinstance(event, Moderated):
        fields = {"tenant": event.tenant, "stage": event.stage, "found": ", ".join(event.categories)}
        structlog.get_logger("sdxl_gateway.safety").info(event.action, job=event.job_id, review=event.review, **fields)


def hide_private(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Blank out what a caller wrote or proves themselves with, whoever logs it by mistake."""
    for key in PRIVATE & event.keys():
        event[key] = HIDDEN
    return event


def _formatter(telemetry: Telemetry, shared: list[Processor]) -> logging.Formatter:
    last: list[Processor]
    if telemetry.log_format == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        # Its own traceback would print each frame's values, prompts and keys among them, and take seconds over it.
        plain = structlog.dev.plain_traceback
        last = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    processors = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    return structlog.stdlib.ProcessorFormatter(processors=processors, foreign_pre_chain=shared)


def _handler(stream: TextIO | None) -> logging.Handler:
    """A program that put something else in the place of stderr gets the lines there, as they come."""
    if stream is None:
        with suppress(OSError, AttributeError):
            return LogWriter(sys.stderr.fileno())
    return logging.StreamHandler(stream)


def _install(formatter: logging.Formatter, handler: logging.Handler) -> None:
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for former in root.handlers:
        if isinstance(former, LogWriter):
            former.close()
    root.handlers[:] = [handler]
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # A line for each head that is none, and for each protocol asked for that it does not speak.
    logging.getLogger("uvicorn.error").filters[:] = [Seldom()]
    # It has a line for each odd byte of a form, and anybody may send forms: the refusal is logged by us.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # It counts what changed; which models came and went is told by whoever looks at the folder.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
