"""Makes torch's Python functions behave as in a build with CUDA, on DeviceTensors.

Most calls reach a DeviceTensor by themselves; this handles those that ask for a CUDA device, or for page-locked
memory, and those that a build without CUDA refuses before they reach the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import multi_head_attention_forward
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_any, tree_map_only

from sdxl_gateway.engine.engine import DiffusionEngine
from sdxl_gateway.engine.models.image_prompts import IPAdapter
from sdxl_gateway.engine.models.loaders import LoadedCheckpoint
from tests.kit.device_tensors import (
    CUDA,
    HOST,
    DeviceTensor,
    is_pinned,
    launched,
    on_host,
    pinned,
    refuse,
    wait,
    watch_places,
    watch_upload,
)

OF_DATA = {torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor}
"""Functions that copy Python's data, and wait for the copy."""
READING = (Tensor.item, Tensor.tolist, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__)


class FakeCuda(TorchFunctionMode):
    """While active, tensors on a CUDA device are DeviceTensors, and host memory can be page-locked."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _SPECIAL:
            return _SPECIAL[func](*args, **kwargs)
        if kwargs.pop("pin_memory", False):
            return pinned(func(*args, **kwargs))
        if _is_cuda(kwargs.get("device")):
            return _made(func, args, kwargs)
        return func(*args, **kwargs)


def move_to_fake_cuda(engine: DiffusionEngine) -> None:
    """Load all its models, and move them to the device; its caches are emptied."""
    pool = engine._pool
    for kind, loader in pool.loaders.items():
        for name in loader.names:
            pool._models[kind, name] = _moved(pool.get(kind, name))
    for stage in engine._beginning:
        for cache in {"_embeddings", "_cache"} & set(vars(stage)):
            setattr(stage, cache, type(getattr(stage, cache))())


@torch.inference_mode()
def move_to_cuda(module: nn.Module) -> None:
    """Replace its parameters and buffers with DeviceTensors of the same values."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = nn.Parameter(DeviceTensor(parameter.detach()), requires_grad=False)
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = DeviceTensor(buffer)


def _moved(model: Any) -> Any:
    if isinstance(model, LoadedCheckpoint):
        checkpoint = model.checkpoint
        for part in (*checkpoint.blendable().values(), checkpoint.vae):
            move_to_cuda(part)
        placement = replace(checkpoint.placement, device=CUDA)
        return LoadedCheckpoint(replace(checkpoint, placement=placement), model.switcher)
    if isinstance(model, IPAdapter):
        move_to_cuda(model.projection)
        return IPAdapter(model.projection, tuple((DeviceTensor(keys), DeviceTensor(v)) for keys, v in model.layers))
    move_to_cuda(model)
    return model


def _is_cuda(device: Any) -> bool:
    return isinstance(device, str | torch.device) and torch.device(device).type == "cuda"


def _made(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    if func in OF_DATA:
        wait(f"{func.__name__} of what Python holds")
    launched(func.__name__)
    found = func(*args, **{**kwargs, "device": HOST})
    return found if isinstance(found, DeviceTensor) else DeviceTensor(found)


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`Tensor.to` with a device, a dtype, or both, in all spellings; modules pass None for no dtype."""
    if not any(map(_is_cuda, (*args, *kwargs.values()))):
        return Tensor.to(tensor, *args, **kwargs)
    left: list[Any] = [one for one in args if isinstance(one, torch.dtype)]
    named = {key: one for key, one in kwargs.items() if not _is_cuda(one)}
    if isinstance(tensor, DeviceTensor):
        return Tensor.to(tensor, *left, **named) if left or named else tensor
    watch_upload(tensor, non_blocking=bool(named.pop("non_blocking", True in args)))
    launched("to")
    return DeviceTensor(tensor.to(*left, **named).clone() if left or named else tensor.clone())


def _getitem(tensor: Tensor, index: Any) -> Any:
    if not isinstance(tensor, DeviceTensor):
        return Tensor.__getitem__(tensor, index)
    _watch_bracket(index)
    found = tensor.host[on_host(index)]
    if found.untyped_storage().data_ptr() != tensor.host.untyped_storage().data_ptr():
        launched("index")
    return DeviceTensor(found)


def _setitem(tensor: Tensor, index: Any, value: Any) -> None:
    if not isinstance(tensor, DeviceTensor):
        Tensor.__setitem__(tensor, index, value)
        return
    _watch_bracket(index)
    if isinstance(value, Tensor) and not isinstance(value, DeviceTensor):
        refuse("index_put", [value])
    launched("index_put")
    tensor.host[on_host(index)] = on_host(value)


def _watch_bracket(index: Any) -> None:
    """Record what indexing waits for: lists are host tensors, and a single number on the host is just read."""
    given = index if isinstance(index, tuple) else (index,)
    places = [torch.tensor(one) if isinstance(one, list) else one for one in given]
    watch_places("index", [one for one in places if isinstance(one, Tensor) and (one.ndim or one.is_cuda)])


def _read(func: Callable[..., Any]) -> Callable[..., Any]:
    """`func`, which reads the tensor's values back to the host."""

    def read(tensor: Tensor, *args: Any) -> Any:
        if isinstance(tensor, DeviceTensor):
            wait(f"{func.__name__}()")
        return func(on_host(tensor), *args)

    return read


def _as_one(func: Callable[..., Any]) -> Callable[..., Any]:
    """`func`, counted as one launch, although it makes several."""

    def computed(*args: Any, **kwargs: Any) -> Any:
        if not tree_any(lambda one: isinstance(one, DeviceTensor), (args, kwargs)):
            return func(*args, **kwargs)
        launched(func.__name__)
        return tree_map_only(Tensor, DeviceTensor, func(*on_host(args), **on_host(kwargs)))

    return computed


def _contiguous(tensor: Tensor, memory_format: torch.memory_format = torch.contiguous_format) -> Tensor:
    if not isinstance(tensor, DeviceTensor):
        return tensor.contiguous(memory_format=memory_format)
    as_it_is = tensor.is_contiguous(memory_format=memory_format)
    return tensor if as_it_is else tensor.clone(memory_format=memory_format)


def _copy(tensor: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    if not isinstance(tensor, DeviceTensor):
        return tensor.copy_(source, non_blocking)
    found: Tensor = DeviceTensor.__torch_dispatch__(torch.ops.aten.copy_.default, (), (tensor, source, non_blocking))
    return found


def _nonzero(tensor: Tensor, *, as_tuple: bool = False) -> Any:
    found = torch.ops.aten.nonzero.default(tensor)
    return found.unbind(1) if as_tuple else found


def _new_tensor(tensor: Tensor, data: Any, **kwargs: Any) -> Tensor:
    if not isinstance(tensor, DeviceTensor):
        return tensor.new_tensor(data, **kwargs)
    return _made(Tensor.new_tensor, (tensor.host, data), kwargs)


_SPECIAL: Mapping[Any, Callable[..., Any]] = {
    **{func: _read(func) for func in READING},
    **{func: _as_one(func) for func in (Tensor.__invert__, multi_head_attention_forward)},
    Tensor.contiguous: _contiguous,
    Tensor.copy_: _copy,
    Tensor.__getitem__: _getitem,
    Tensor.__setitem__: _setitem,
    Tensor.new_tensor: _new_tensor,
    Tensor.nonzero: _nonzero,
    Tensor.to: _to,
    Tensor.pin_memory: lambda tensor, *_: pinned(tensor),
    Tensor.is_pinned: lambda tensor, *_: is_pinned(tensor),
}
