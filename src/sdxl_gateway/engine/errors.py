"""Takes errors raised inside torch, gives this project's own errors, whose texts may be shown to a client."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from sdxl_gateway.core.errors import DoesNotFit, EngineFault, GatewayError
from sdxl_gateway.core.ports import DeviceLost
from sdxl_gateway.engine.quiet import quiet

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_ROOM = "The device has not enough memory for this picture."
FAILED = "The engine failed while painting this picture."
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")
_PERHAPS_OUT_OF_MEMORY = (
    "unable to find an engine to execute this computation",
    "cudnn_status_internal_error",
    "cudnn_status_not_initialized",
    "cublas_status_not_initialized",
    "cublas_status_internal_error",
)
"""What cuDNN and cuBLAS report when they cannot allocate a workspace or a handle, but for other reasons too."""
_LOST = ("cuda error", "execution_failed", "internal_error", "illegal memory access", "device-side assert")


def guarded(call: Callable[[], T]) -> T:
    """The result of `call`. Raises GatewayError or DeviceLost, nothing else.

    Our error is raised outside the `except` block, without the library's as its context: that one's traceback would
    keep the tensors of every frame alive.
    """
    try:
        return call()
    except (GatewayError, DeviceLost):
        raise
    except Exception as error:
        problem = translated(error)
    if isinstance(problem, DoesNotFit):
        give_memory_back()
    raise problem


def translated(error: Exception) -> Exception:
    """Our error for one of torch's; logs it unless it is a lack of memory."""
    if out_of_memory(error):
        return DoesNotFit(NO_ROOM)
    log.error("the engine failed", exc_info=error)
    if _device_lost(error):
        return DeviceLost("The device was lost.")
    return EngineFault(FAILED)


def with_room(call: Callable[[], T], make_room: Callable[[], None], may_repeat: Callable[[], bool] = lambda: True) -> T:
    """The result of `call`; if the device ran out of memory, `make_room` is called and `call` retried once."""
    try:
        return call()
    except Exception as error:
        if not (device_full(error) and may_repeat()):
            raise
    make_room()
    return call()


def device_full(error: BaseException) -> bool:
    """An allocation failed, also where a DoesNotFit wraps that; a full budget of the ledger does not count."""
    return out_of_memory(error) or (isinstance(error, DoesNotFit) and out_of_memory(error.__cause__))


def out_of_memory(error: BaseException | None) -> bool:
    """An allocation by torch or Python failed; other libraries than torch's allocator tell it by their text alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return _mentions(error, _OUT_OF_MEMORY) or (_perhaps_out_of_memory(error) and device_answers())


def device_answers() -> bool:
    """The device is not lost: a trivial kernel completes, or merely finds no memory."""
    if not torch.cuda.is_available():
        return True
    try:
        torch.ones(1, device="cuda").add_(1)
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return True
    except RuntimeError:
        return False
    return True


def _perhaps_out_of_memory(error: Exception) -> bool:
    return not isinstance(error, torch.AcceleratorError) and _mentions(error, _PERHAPS_OUT_OF_MEMORY)


def _device_lost(error: Exception) -> bool:
    """For an error that is not a lack of memory."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and _mentions(error, (*_LOST, *_PERHAPS_OUT_OF_MEMORY))


def _mentions(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def give_memory_back(*, collect: bool = True) -> None:
    """Return torch's cached blocks to the device; with `collect`, after freeing tensors held by reference cycles."""
    if collect:
        gc.collect()
    if torch.cuda.is_available():
        with quiet.disturbed():
            torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
