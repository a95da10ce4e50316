"""Takes what goes wrong inside torch, gives errors of the house whose text is fit for a client."""

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
"""What CUDA's libraries say where their workspace or their handle finds no room; or for other reasons."""
_LOST = ("cuda error", "execution_failed", "internal_error", "illegal memory access", "device-side assert")


def guarded(call: Callable[[], T]) -> T:
    """What `call` gives. Raises GatewayError or DeviceLost, nothing else.

    The library's error is let go of before ours is raised: its traceback holds the tensors of every frame.
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
    """Our error for torch's; logs the ones nobody expects."""
    if out_of_memory(error):
        return DoesNotFit(NO_ROOM)
    log.error("the engine failed", exc_info=error)
    if _device_lost(error):
        return DeviceLost("The device was lost.")
    return EngineFault(FAILED)


def with_room(call: Callable[[], T], make_room: Callable[[], None], may_repeat: Callable[[], bool] = lambda: True) -> T:
    """What `call` gives; where it found no memory it is called once more, after `make_room`."""
    try:
        return call()
    except Exception as error:
        if not (device_full(error) and may_repeat()):
            raise
    make_room()
    return call()


def device_full(error: BaseException) -> bool:
    """It found no memory in truth, whoever said so; that a budget is full is another matter."""
    return out_of_memory(error) or (isinstance(error, DoesNotFit) and out_of_memory(error.__cause__))


def out_of_memory(error: BaseException | None) -> bool:
    """Torch, or Python, found no room; other libraries than torch's own allocator say so in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return _mentions(error, _OUT_OF_MEMORY) or (_perhaps_out_of_memory(error) and device_answers())


def device_answers() -> bool:
    """A tiny piece of work comes back, or finds no room: then the device is not lost."""
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
    """Of an error that no memory stands behind."""
    if isinstance(error, torch.AcceleratorError):
        return True
    return isinstance(error, RuntimeError) and _mentions(error, (*_LOST, *_PERHAPS_OUT_OF_MEMORY))


def _mentions(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def give_memory_back(*, collect: bool = True) -> None:
    """Freed blocks of torch's allocator become free memory of the device, those of objects in circles if `collect`."""
    if collect:
        gc.collect()
    if torch.cuda.is_available():
        with quiet.disturbed():
            torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
