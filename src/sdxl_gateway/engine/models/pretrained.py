"""Takes a component's folder and a number format, gives the model in it: as a library builds it, harmless to others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sdxl_gateway.catalog.model_files import TEXT_LEVEL, weight_files
from sdxl_gateway.catalog.safetensors_header import Header, TensorInfo
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.engine.lora.formats import FILE_DTYPES

T = TypeVar("T")


def load_pretrained(kind: Any, folder: Path, dtype: torch.dtype) -> Any:
    """A diffusers or transformers model of class `kind`, on the CPU; safetensors files only, on disk only.

    May run while another thread paints. Raises CheckpointProblem, also rather than give a model some of whose weights
    the files do not hold.
    """
    options = {"trust_remote_code": False} if issubclass(kind, PreTrainedModel) else {}
    try:
        with _default_dtype_kept():
            model, found = kind.from_pretrained(
                folder,
                dtype=dtype,
                variant=_variant(folder),
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError) as error:
        raise CheckpointProblem(f"'{folder.name}/' cannot be loaded: {error}") from error
    if found["missing_keys"]:
        raise CheckpointProblem(f"'{folder.name}/' has no weights for '{min(found['missing_keys'])}'.")
    # diffusers gives the format asked for; transformers goes by the one it built the model in.
    return model if model.dtype is dtype else model.to(dtype)


def own_weights(model: nn.Module) -> None:
    """On the CPU, in memory of their own: libraries leave weights in the file, where any writer changes them."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def empty_model(kind: Any, config: Mapping[str, Any]) -> Any:
    """A model of class `kind` without values. Raises CheckpointProblem for a config that describes none."""
    try:
        with torch.device("meta"):
            if issubclass(kind, PreTrainedModel):
                return kind(kind.config_class.from_dict(dict(config)))
            return kind.from_config(dict(config))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointProblem(f"No {kind.__name__} can be made of its config: {error}") from error


def wanted(empty: Any, headers: Sequence[Header]) -> list[dict[str, TensorInfo]] | None:
    """Of each file's tensors those of the model, by its names; None unless the files have each once, of its shape."""
    state, found = empty.state_dict(), []
    for header in headers:
        named = _named_as(empty, header.tensors).items()
        found.append({name: place for name, place in named if name in state and _fits(place, state[name])})
    return found if sorted(name for places in found for name in places) == sorted(state) else None


def _fits(place: TensorInfo, tensor: Tensor) -> bool:
    return place.shape == tensor.shape and place.dtype in FILE_DTYPES and tensor.is_floating_point()


def filled(empty: Any, tensors: Mapping[str, Tensor]) -> Any:
    """An empty model whose parameters are the `tensors` themselves, those it asks for (see `check_tensors`)."""
    empty.load_state_dict(_named_as(empty, tensors), strict=True, assign=True)
    if isinstance(empty, PreTrainedModel):
        # The one thing a text encoder holds that no file does: the numbers of its places.
        embeddings = getattr(empty, TEXT_LEVEL, empty).embeddings
        places = embeddings.position_embedding
        embeddings.position_ids = torch.arange(places.num_embeddings, device=places.weight.device)[None]
    return empty


def _named_as(model: Any, tensors: Mapping[str, T]) -> Mapping[str, T]:
    """Published text encoders have a level that newer transformers leaves out of some."""
    if hasattr(model, TEXT_LEVEL):
        return tensors
    return {name.removeprefix(f"{TEXT_LEVEL}."): tensor for name, tensor in tensors.items()}


def check_tensors(model: Any, tensors: Mapping[str, Tensor], told_as: str) -> None:
    """Raises CheckpointProblem unless `tensors` are exactly those the model has, in name and shape."""
    wanted, given = model.state_dict(), _named_as(model, tensors)
    for name, tensor in wanted.items():
        if name not in given:
            raise CheckpointProblem(f"{told_as} has no '{name}', which its config asks for.")
        if given[name].shape != tensor.shape:
            shape, expected = tuple(given[name].shape), tuple(tensor.shape)
            raise CheckpointProblem(f"{told_as} has '{name}' of shape {shape}; by its config it is {expected}.")
    for name in given.keys() - wanted.keys():
        raise CheckpointProblem(f"{told_as} has '{name}', which its config knows nothing of.")


@contextmanager
def _default_dtype_kept() -> Iterator[None]:
    """Both libraries build a model under its own default dtype, which is every thread's: a sampler would compute in it.

    What they build has no values yet, so its format costs nothing.
    """
    set_default_dtype = torch.set_default_dtype
    torch.set_default_dtype = _ignore
    try:
        yield
    finally:
        torch.set_default_dtype = set_default_dtype


def _ignore(dtype: torch.dtype) -> None:
    pass


def _variant(folder: Path) -> str | None:
    """The files' infix, where a folder holds no plain ones."""
    return "fp16" if all(".fp16." in path.name for path in weight_files(folder)) else None
