"""Checks whether a single file is a complete SDXL model or refiner: every tensor is there, in the right shape."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from sdxl_gateway.catalog.safetensors_header import FLOAT_DTYPES
from sdxl_gateway.catalog.single_file.families import (
    CLIP_G_PREFIX,
    PREFIXES,
    REFINER_CLIP_G_PREFIX,
    VAE_PREFIX,
    Family,
)
from sdxl_gateway.catalog.single_file.read import FIRST_LAYER, SingleFile, read_single_file
from sdxl_gateway.config import REFINER_CONFIGS, SDXL_CONFIGS
from sdxl_gateway.core.errors import CheckpointProblem

Shape = tuple[int, ...]
INPAINT_CHANNELS = 9
IN_CHANNELS = (4, INPAINT_CHANNELS)
"""The latents; for inpainting also the mask, and the latents of the masked picture."""
LATENT_CHANNELS = 4
IGNORED = (
    "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
    f"{CLIP_G_PREFIX}logit_scale",
    f"{REFINER_CLIP_G_PREFIX}logit_scale",
)
"""Written by some tools, and not used in any computation."""
ADVICE = "A model of another make needs `config`, a folder with its configs."
_VAE_FIRST_LAYER = "decoder.conv_in.weight"
CONFIGS = {Family.SDXL: SDXL_CONFIGS, Family.REFINER: REFINER_CONFIGS}
"""The package's own configs of each family of whole checkpoints."""
_CALLED = {Family.SDXL: "SDXL", Family.REFINER: "the SDXL refiner"}


@cache
def sdxl_tensors(family: Family = Family.SDXL) -> Mapping[str, Shape]:
    """The shape of every tensor in the family's single-file layout, from a list that is part of the package."""
    with gzip.open(CONFIGS[family] / "tensors.json.gz", "rt", encoding="utf-8") as file:
        return MappingProxyType({name: tuple(shape) for name, shape in json.load(file).items()})


def model_tensors(file: SingleFile) -> Iterator[str]:
    """The names of the tensors that are used to compute pictures."""
    prefixes = tuple(file.prefixes.values())
    return (name for name in file.header.tensors if name.startswith(prefixes) and name not in IGNORED)


def check_sdxl(file: SingleFile, *, own_config: bool) -> None:
    """Raises CheckpointProblem if the file cannot be used.

    With `own_config` its shapes are those of a folder of configs, and are checked against that when it is loaded.
    """
    if file.family not in PREFIXES:
        raise CheckpointProblem(f"'{file.path.name}' is not an SDXL checkpoint: this is {file.family}.")
    problem = _unreadable(file) or (None if own_config else _deviation(file))
    if problem is not None:
        raise CheckpointProblem(f"'{file.path.name}': {problem}")


def check_vae(path: Path) -> None:
    """Raises CheckpointProblem unless the file holds a VAE of SDXL's kind, alone or inside a checkpoint."""
    file = read_single_file(path)
    if file.family is not Family.VAE and not file.has_vae:
        raise CheckpointProblem(f"'{path.name}' is not a VAE: this is {file.family}.")
    first = [tensor.shape for name, tensor in file.header.tensors.items() if name.endswith(_VAE_FIRST_LAYER)]
    if [shape[1:2] for shape in first] != [(LATENT_CHANNELS,)]:
        raise CheckpointProblem(f"'{path.name}' is not a VAE of SDXL's kind, which has {LATENT_CHANNELS} channels.")


def _unreadable(file: SingleFile) -> str | None:
    for name in model_tensors(file):
        dtype = file.header.tensors[name].dtype
        if dtype not in FLOAT_DTYPES or name.endswith((".scale_weight", ".scale_input")):
            return f"its weights are quantised ('{name}' is {dtype}), which is not read; take a float16 or fp8 version."
    if file.in_channels not in IN_CHANNELS:
        return f"its UNet takes {file.in_channels} channels, where SDXL's takes 4, or 9 for inpainting."
    return None


def _deviation(file: SingleFile) -> str | None:
    tensors, expected, called = file.header.tensors, _expected(file), _CALLED[file.family]
    for name in sorted(expected.keys() - tensors.keys()):
        return f"it lacks '{name}', which {called} has. {ADVICE}"
    for name, shape in expected.items():
        if _flat(name, tensors[name].shape) != _flat(name, shape):
            return f"'{name}' has the shape {tensors[name].shape}, in {called} it is {shape}. {ADVICE}"
    for name in sorted(set(model_tensors(file)) - expected.keys()):
        return f"it has '{name}', which {called} lacks. {ADVICE}"
    return None


def _expected(file: SingleFile) -> dict[str, Shape]:
    left_out = () if file.has_vae else (VAE_PREFIX,)
    expected = {name: shape for name, shape in sdxl_tensors(file.family).items() if not name.startswith(left_out)}
    rows, _, *kernel = expected[FIRST_LAYER]
    return expected | {FIRST_LAYER: (rows, file.in_channels, *kernel)}


def _flat(name: str, shape: Shape) -> Shape:
    """The shape without 1x1 kernels: some tools store a VAE's attention as convolutions, others as matrices."""
    return shape[:2] if name.startswith(VAE_PREFIX) and shape[2:] == (1, 1) else shape
