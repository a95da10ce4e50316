"""Takes the digest of a textual inversion's private copy, gives its vectors for each text encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sdxl_gateway.catalog.embedding_folder.embedding_file import CAPS, check_embedding
from sdxl_gateway.catalog.lora_folder.copies import store_path
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.text import shown
from sdxl_gateway.engine.lora.formats import AdapterFile, lay_out
from sdxl_gateway.engine.lora.reading import read_factors
from sdxl_gateway.engine.lora.recent import Recent

KEPT = 64
Vectors = Mapping[str, Tensor]
"""(count, width) float32 in host memory, by component."""


class EmbeddingFiles:
    """Reads private copies of embedding files, with a cache of those used last."""

    def __init__(self, data_directory: Path) -> None:
        self._data_directory = data_directory
        self._kept: Recent[tuple[object, ...], Vectors] = Recent(KEPT)

    def vectors(self, word: str, digest: str, shapes: Mapping[str, tuple[int, ...]]) -> Vectors:
        """For the encoders in `shapes` for which the file has vectors.

        Raises AdapterRefused for a file that is gone, broken, or made for encoders of other `shapes`.
        """
        key = (word, digest, *sorted(shapes.items()))
        try:
            return self._kept.of(key, lambda: self._read(word, digest, shapes))
        except AdapterRefused as refused:
            message = f"The embedding {shown(word)} cannot be used: {refused.message}"
            raise AdapterRefused(message, param="prompt") from refused

    def _read(self, word: str, digest: str, shapes: Mapping[str, tuple[int, ...]]) -> Vectors:
        path = store_path(self._data_directory, digest)
        header = read_header(path, CAPS)
        keys = check_embedding(word, header, shapes)
        if not keys:
            return {}
        file = AdapterFile(digest, path, header.tensors, (), {word: keys})
        adapter = read_factors(lay_out(file), pinned=False).on(torch.device("cpu"))
        return {component: tensor.float() for component, tensor in adapter.words[word].items()}
