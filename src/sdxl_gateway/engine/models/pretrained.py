"""Takes a component's folder and a dtype, gives its model, built by a library without side effects on other threads."""

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
    """A diffusers or transformers model of class `kind`, on the CPU, from local safetensors files only.

    May run while another thread paints. Raises CheckpointProblem, also if the files lack any of the model's weights.
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
    # diffusers gives the requested dtype; transformers that of the torch default under which it built the model.
    return model if model.dtype is dtype else model.to(dtype)


def own_weights(model: nn.Module) -> None:
    """Copy weights on the CPU to own memory: libraries map them from the file, which somebody may overwrite."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.device.type == "cpu":
            tensor.data = tensor.data.clone()


def empty_model(kind: Any, config: Mapping[str, Any]) -> Any:
    """A model of class `kind` on the meta device. Raises CheckpointProblem for an invalid config."""
    try:
        with torch.device("meta"):
            if issubclass(kind, PreTrainedModel):
                return kind(kind.config_class.from_dict(dict(config)))
            return kind.from_config(dict(config))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointProblem(f"No {kind.__name__} can be made of its config: {error}") from error


def matching_tensors(empty: Any, headers: Sequence[Header]) -> list[dict[str, TensorInfo]] | None:
    """Each file's tensors of the model, by the model's names; None unless the files have each once, in its shape."""
    state, by_file = empty.state_dict(), []
    for header in headers:
        named = _named_as(empty, header.tensors).items()
        by_file.append({name: place for name, place in named if name in state and _fits(place, state[name])})
    return by_file if sorted(name for places in by_file for name in places) == sorted(state) else None


def _fits(place: TensorInfo, tensor: Tensor) -> bool:
    return place.shape == tensor.shape and place.dtype in FILE_DTYPES and tensor.is_floating_point()


def filled(empty: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The empty model with `tensors` as its parameters, uncopied; they must be complete (see `check_tensors`)."""
    empty.load_state_dict(_named_as(empty, tensors), strict=True, assign=True)
    if isinstance(empty, PreTrainedModel):
        # The only buffer of a text encoder that is in no file.
        embeddings = getattr(empty, TEXT_LEVEL, empty).embeddings
        positions = embeddings.position_embedding
        embeddings.position_ids = torch.arange(positions.num_embeddings, device=positions.weight.device)[None]
    return empty


def _named_as(model: Any, tensors: Mapping[str, T]) -> Mapping[str, T]:
    """Tensors under the model's own names: newer transformers omits a level of published text encoders' names."""
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
    """Both libraries set torch's default dtype while building, which is global: samplers on other threads would use it.

    It is not needed, as models are built on the meta device and converted afterwards.
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
    """The infix of file names in a folder without plain ones."""
    return "fp16" if all(".fp16." in path.name for path in weight_files(folder)) else None
