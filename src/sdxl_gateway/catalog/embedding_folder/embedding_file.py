"""Reads the header of an embedding's file: the tensor that replaces the word in each text encoder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sdxl_gateway.catalog.lora_format.module_names import CLIP_ENCODERS
from sdxl_gateway.catalog.lora_format.shapes import check_token, word_shape
from sdxl_gateway.catalog.safetensors_header import FLOAT_DTYPES, Header
from sdxl_gateway.config import FileCaps
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.prompt import CHUNK_TOKENS

CAPS = FileCaps(max_header_bytes=2**20, max_tensors=64, max_file_bytes=16 * 2**20)
"""Far above the largest usable file: 75 vectors for each text encoder."""

SPELLINGS = {"clip_l": "clip_l", "clip_g": "clip_g", "text_encoders_0": "clip_l", "text_encoders_1": "clip_g"}
"""The tensors' names in files by kohya, A1111 and OneTrainer, and by diffusers' training scripts."""
ONE_ENCODER_ALONE = ("emb_params", "string_to_param")


def tensors_by_encoder(header: Header) -> dict[str, str]:
    """The names of the tensors for "clip_l", "clip_g" or both. Raises AdapterRefused for any other tensor."""
    found: dict[str, str] = {}
    for name in header.tensors:
        encoder = SPELLINGS.get(name)
        if encoder is None:
            raise AdapterRefused(_unread(name))
        if encoder in found:
            raise AdapterRefused(f"The tensors '{found[encoder]}' and '{name}' are both for {encoder}.")
        found[encoder] = name
    return found


def _unread(name: str) -> str:
    if name.startswith(ONE_ENCODER_ALONE):
        return "This is an embedding of Stable Diffusion 1.5 or 2, which have one text encoder; SDXL has two."
    return f"The tensor '{name[:100]}' is not read; an embedding for SDXL holds 'clip_l' and 'clip_g' alone."


def check_embedding(word: str, header: Header, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, str]:
    """The tensors by the text encoder's component, for those encoders that the checkpoint has: a refiner has one.

    `shapes` are the checkpoint's. Raises AdapterRefused if the tensors do not fit.
    """
    every = tensors_by_encoder(header)
    tensors = {encoder: name for encoder, name in every.items() if word_shape(encoder, shapes)}
    for encoder, name in tensors.items():
        vectors = header.tensors[name]
        check_token(word, encoder, vectors.shape, shapes)
        if len(vectors.shape) == 2 and vectors.shape[0] > CHUNK_TOKENS:
            raise AdapterRefused(f"The embedding has {vectors.shape[0]} vectors; {CHUNK_TOKENS} can be read at once.")
        if vectors.dtype not in FLOAT_DTYPES:
            raise AdapterRefused(f"The tensor '{name}' has the unsupported type {vectors.dtype}.")
    return {CLIP_ENCODERS[encoder]: name for encoder, name in tensors.items()}


def check_fits(word: str, header: Header, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises AdapterRefused if the file has no tensors for a checkpoint of these `shapes`, or they do not fit."""
    if not check_embedding(word, header, shapes):
        raise AdapterRefused("The embedding teaches no text encoder of this model.")


def check_fits_any(word: str, header: Header, models: Iterable[Mapping[str, tuple[int, ...]]]) -> None:
    """Raises AdapterRefused if it fits none of the models, with the reason of the first."""
    problem: AdapterRefused | None = None
    for shapes in models:
        try:
            check_fits(word, header, shapes)
        except AdapterRefused as refused:
            problem = problem or refused
        else:
            return
    if problem is not None:
        raise problem
