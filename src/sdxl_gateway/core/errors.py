"""Every way a request can end badly, as one tree; api/http/errors.py holds the table of HTTP statuses.

GatewayError
├── Refusal: the caller can correct it (4xx)
│   ├── InvalidRequest, InvalidImage, AdapterRefused, RecipeChanged
│   ├── KeyInUse, AnsweredElsewhere, KeyReused, ModerationBlocked, WrongState
│   ├── ModelNotFound, NotFound, Gone, MethodNotAllowed
│   ├── Unauthenticated, Forbidden
│   └── BodyTooLarge, BodyTooSlow, UnsupportedMedia
├── Busy, Unavailable: try again later
│   └── QuotaSpent, StillLoading, Unjudged, LostWhilePainting
├── PictureUnjudged, DoesNotFit, StorageFull, DeadlineExceeded, Cancelled
└── EngineFault: the server is at fault
    └── NotFinite
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
    """An error that the caller can correct."""


class InvalidRequest(Refusal):
    """400 `invalid_value`, or a code of its own: a field is missing, mistyped, out of range or contradicts another."""

    code = "invalid_value"


class InvalidImage(Refusal):
    """400 `invalid_image_file`: an uploaded picture or mask cannot be used."""

    code = "invalid_image_file"


class ModerationBlocked(Refusal):
    """400 `moderation_blocked`: a judge found what the caller's policy does not allow.

    `stage` is "input" for what was sent, "output" for what was painted; `categories` are what was found.
    """

    code = "moderation_blocked"
    stage: str = "unknown"
    categories: tuple[str, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        stage: str = "unknown",
        categories: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.stage = stage
        self.categories = categories


class WrongState(Refusal):
    """409 `wrong_state`: the object exists, but its state does not allow this."""

    code = "wrong_state"


class ModelNotFound(Refusal):
    """404 `model_not_found`: no checkpoint, alias or LoRA of that name, or several that it is `ambiguous` between."""

    code = "model_not_found"
    param = "model"

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, ambiguous: bool = False
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.ambiguous = ambiguous


class AdapterRefused(Refusal):
    """400 `invalid_lora`: a LoRA file is broken, of another model family, or fits no layer."""

    code = "invalid_lora"
    param = "model"


class NotFound(Refusal):
    """404: no such route or object."""


class Gone(Refusal):
    """410 `expired`: the object existed and has expired."""

    code = "expired"


class MethodNotAllowed(Refusal):
    """405: the route exists, but not with this method."""


class RecipeChanged(Refusal):
    """409 `recipe_changed`: a file that the recipe was painted from is gone, or was replaced."""

    code = "recipe_changed"
    param = "recipe"


class KeyInUse(Refusal):
    """409 `idempotency_key_in_use`: the first request of this key is still running; retry for its answer."""

    code = "idempotency_key_in_use"
    retry_after_seconds = 1.0


class AnsweredElsewhere(KeyInUse):
    """409 `answered_elsewhere`: another gateway answered the first request of this key, and it alone has the reply."""

    code = "answered_elsewhere"


class KeyReused(Refusal):
    """422 `idempotency_key_reused`: the key belongs to another request."""

    code = "idempotency_key_reused"


class Unauthenticated(Refusal):
    """401 `invalid_api_key`: no key, or a wrong one."""

    code = "invalid_api_key"


class Forbidden(Refusal):
    """403 `permission_denied`: a key that may not do this."""

    code = "permission_denied"


class BodyTooLarge(Refusal):
    """413 `request_too_large`: the body is larger than the server reads."""

    code = "request_too_large"


class BodyTooSlow(Refusal):
    """408 `request_timeout`: the request did not arrive in time."""

    code = "request_timeout"


class UnsupportedMedia(Refusal):
    """415 `unsupported_media_type`: a content type that the route does not read."""

    code = "unsupported_media_type"


class Busy(GatewayError):
    """429 `rate_limit_exceeded`: the queue is full, or the answer would come too late."""

    code = "rate_limit_exceeded"

    def __init__(self, message: str, *, retry_after_seconds: float, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class QuotaSpent(Busy):
    """429 `insufficient_quota`: the quota of the day is used up; retrying within minutes cannot help."""

    code = "insufficient_quota"


class Unavailable(GatewayError):
    """503 `server_is_overloaded`: no engine can paint now; it is being restarted, or the server is closing."""

    code = "server_is_overloaded"

    def __init__(self, message: str, *, retry_after_seconds: float = 2.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class StillLoading(Unavailable):
    """503 `model_loading`: the model is being loaded onto the device, which goes on after this."""

    code = "model_loading"

    param = "model"

    def __init__(self, *, waited_seconds: float) -> None:
        pause_seconds = min(max(waited_seconds, 1.0), LONGEST_PAUSE_SECONDS)
        super().__init__("The model is still being loaded; ask again.", retry_after_seconds=pause_seconds)


class Unjudged(Unavailable):
    """503 `moderation_unavailable`: the request has to be judged first, and no judge could."""

    code = "moderation_unavailable"


class PictureUnjudged(GatewayError):
    """503 `moderation_unavailable`: a finished picture could not be judged. A job is not painted again for that."""

    code = "moderation_unavailable"


class LostWhilePainting(Unavailable):
    """503 `server_is_overloaded`: the engine ended, or was ended, while it worked on the job."""


LONGEST_PAUSE_SECONDS = 15.0
"""The longest Retry-After for a model that is being loaded, which may be ready any moment."""

ENGINE_CRASHED = "engine_crashed"
"""The code of an EngineFault: the engine, or the whole server, crashed each time it worked on the job."""

CLOSING = "The server is closing."
"""The message of Unavailable to callers whose requests are cut off by the server's end."""


class DoesNotFit(GatewayError):
    """507 `out_of_memory`: the device cannot hold what was asked for; retrying cannot help."""

    code = "out_of_memory"


class StorageFull(GatewayError):
    """507 `storage_full`: the server's disk is full; retrying cannot help."""

    code = "storage_full"


class DeadlineExceeded(GatewayError):
    """504 `deadline_exceeded`: the answer came, or would come, too late."""

    code = "deadline_exceeded"


class Cancelled(GatewayError):
    """499 `cancelled`: the client disconnected, or the job was cancelled."""

    code = "cancelled"


class EngineFault(GatewayError):
    """500 `engine_error`: the server is at fault; its log has the details."""

    code = "engine_error"


class NotFinite(EngineFault):
    """500 `not_finite`: the picture has values that are not finite; retrying cannot help."""

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


class StartProblem(Exception):
    """Why a server does not start; the text is for the operator."""


class CheckpointProblem(StartProblem):
    """A checkpoint or side model that cannot be served; the text is for the operator."""


class TracesProblem(StartProblem):
    """Traces that cannot be sent anywhere; the text is for the operator."""


class SafetyProblem(StartProblem):
    """A judge that cannot be used; the text is for the operator."""


class MatteProblem(StartProblem):
    """A matte model that cannot be used; the text is for the operator."""
