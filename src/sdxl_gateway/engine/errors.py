"""Takes what goes wrong inside torch, gives errors of the house whose text is fit for a client."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from sdxl_gateway.core.errors import DoesNotFit, EngineFault, GatewayError
from sdxl_gateway.core.ports import DeviceLost

log = logging.getLogger(__name__)

T = TypeVar("T")

NO_ROOM = "The device has not enough memory for this picture."
FAILED = "The engine failed while painting this picture."
_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed")
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


def out_of_memory(error: Exception) -> bool:
    """Torch, or Python, found no room; other libraries than torch's own allocator say so in words alone."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and _mentions(error, _OUT_OF_MEMORY)


def _device_lost(error: Exception) -> bool:
    return isinstance(error, torch.AcceleratorError) or (isinstance(error, RuntimeError) and _mentions(error, _LOST))


def _mentions(error: Exception, words: tuple[str, ...]) -> bool:
    text = str(error).lower()
    return any(word in text for word in words)


def give_memory_back(*, collect: bool = True) -> None:
    """Freed blocks of torch's allocator become free memory of the device, those of objects in circles if `collect`."""
    if collect:
        gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    elif torch.backends.mps.is_available():
        torch.mps.empty_cache()
