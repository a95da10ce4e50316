"""Finds the embeddings whose words are in the prompts, with a warning for each that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog, why_not
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.prompt_syntax import read_prompt
from sdxl_gateway.core.text import shown

TaughtWords = tuple[tuple[str, str], ...]
"""Lower-case words, each with the sha256 of its file's copy, in order."""


async def embeddings_in(
    prompts: Iterable[str], syntax: str, embeddings: EmbeddingCatalog, checkpoint: CheckpointEntry
) -> tuple[TaughtWords, tuple[str, ...]]:
    """The embeddings in the prompts; unusable ones only cause warnings, as their words may have been meant as words."""
    texts = [segment.text for prompt in prompts for part in read_prompt(prompt, syntax) for segment in part]
    taught: list[tuple[str, str]] = []
    warnings: list[str] = []
    for one in embeddings.named_in(texts):
        problem = why_not(one, checkpoint)
        try:
            if problem is None:
                taught.append((one.word.lower(), await embeddings.check_in(one)))
        except AdapterRefused as refused:
            problem = refused.message
        if problem is not None:
            warnings.append(f"The embedding {shown(one.word)} is read as plain text: {problem}")
    return tuple(taught), tuple(warnings)
