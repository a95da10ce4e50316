"""Every way a request can end badly, as one tree; the HTTP status of each is decided in api/http/errors.py alone.

GatewayError
├── Refusal                 the caller can mend it (4xx); always names what to change
│   ├── InvalidRequest      a field is missing, mistyped, out of range or contradicts another
│   ├── InvalidImage        an uploaded picture or mask cannot be used
│   ├── ModelNotFound       no checkpoint, alias or LoRA of that name
│   ├── AdapterRefused      a LoRA file is broken, of another family, or fits nothing
│   ├── NotFound            no such route or object
│   ├── Gone                it was there, and its time is over
│   ├── MethodNotAllowed    the route exists, the verb does not
│   ├── Unauthenticated     no key, or a wrong one
│   ├── Forbidden           a key that may not do this
│   ├── BodyTooLarge        more bytes than the server reads
│   ├── BodyTooSlow         the request did not arrive in time
│   └── UnsupportedMedia    a content type the route does not speak
├── Busy                    come back later (429); carries retry_after_seconds
├── Unavailable             nothing can paint now (503); carries retry_after_seconds
├── DoesNotFit              the device cannot hold what was asked (507); repeating cannot help
├── DeadlineExceeded        the answer would come, or came, too late (504)
├── Cancelled               the caller went away
└── EngineFault             our fault (500)
    └── NotFinite           the picture came out as NaN; repeating cannot help
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of all errors that may reach a client; `message` is written for that client."""

    code: str | None = None
    param: str | None = None
    retry_after_seconds: float | None = None

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param if param is not None else type(self).param
        self.code = code if code is not None else type(self).code


class Refusal(GatewayError):
    """The caller can mend it."""


class InvalidRequest(Refusal):
    code = "invalid_value"


class InvalidImage(Refusal):
    code = "invalid_image_file"


class ModelNotFound(Refusal):
    """`ambiguous` where the name fits several models rather than none."""

    code = "model_not_found"
    param = "model"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, ambiguous: bool = False
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.ambiguous = ambiguous


class AdapterRefused(Refusal):
    code = "invalid_lora"
    param = "model"


class NotFound(Refusal):
    pass


class Gone(Refusal):
    code = "expired"


class MethodNotAllowed(Refusal):
    pass


class Unauthenticated(Refusal):
    code = "invalid_api_key"


class Forbidden(Refusal):
    code = "permission_denied"


class BodyTooLarge(Refusal):
    code = "request_too_large"


class BodyTooSlow(Refusal):
    code = "request_timeout"


class UnsupportedMedia(Refusal):
    code = "unsupported_media_type"


class Busy(GatewayError):
    """The line is full, or the answer would come too late."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(GatewayError):
    """No engine can paint now; it is being restarted or the server is closing."""

    code = "server_is_overloaded"

    def __init__(self, message: str, *, retry_after_seconds: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class DoesNotFit(GatewayError):
    code = "out_of_memory"


class DeadlineExceeded(GatewayError):
    code = "deadline_exceeded"


class Cancelled(GatewayError):
    code = "cancelled"


class EngineFault(GatewayError):
    code = "engine_error"


class NotFinite(EngineFault):
    code = "not_finite"


def error_class(name: str) -> type[GatewayError]:
    """The class of that name, for errors that crossed a process boundary; EngineFault when unknown."""
    found = _by_name(GatewayError).get(name)
    return found if found is not None else EngineFault


def _by_name(base: type[GatewayError]) -> dict[str, type[GatewayError]]:
    found = {base.__name__: base}
    for child in base.__subclasses__():
        found |= _by_name(child)
    return found


class CheckpointProblem(Exception):
    """A checkpoint that cannot be served; the text is for the operator."""
