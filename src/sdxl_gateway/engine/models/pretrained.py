"""Takes a component's folder and a number format, gives the model in it: as a library builds it, harmless to others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sdxl_gateway.catalog.model_files import weight_files
from sdxl_gateway.core.errors import CheckpointProblem


def load_pretrained(kind: Any, folder: Path, dtype: torch.dtype, **options: Any) -> Any:
    """A diffusers or transformers model of class `kind`, on the CPU; safetensors files only, on disk only.

    May run while another thread paints. Raises CheckpointProblem, also rather than give a model some of whose weights
    the files do not hold.
    """
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
