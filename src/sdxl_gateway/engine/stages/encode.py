"""Takes a canvas's texts, gives what the UNet reads of them: one layer's states of both encoders, one's pooled one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from sdxl_gateway.core.prompt import PLAIN_READING, TextReading
from sdxl_gateway.core.recipe import Blend
from sdxl_gateway.engine.canvas import Canvas, Embedding
from sdxl_gateway.engine.lora.formats import TextualInversions
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.engine.stages.tokens import NO_INVERSIONS, tokenizers_of

CACHE_BYTES = 64 * 2**20
SHOWN_CHARS = 120

UNGUIDED = "The negative_prompt changes nothing at a guidance_scale of 1 or less."

EmbeddingKey = tuple[str, tuple[tuple[str, float], ...], TextReading, str]


class Encode(Stage):
    """The texts of a canvas, with the text encoders' weights as its blend has them."""

    name = "encode"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._embeddings = EmbeddingCache()

    def begin(self, canvas: Canvas) -> None:
        """Raises AdapterRefused or DoesNotFit where the blend cannot be put on."""
        canvas.positive = self._embedding(canvas, canvas.recipe.prompt, canvas.recipe.reading)
        canvas.negative = self._negative(canvas)
        canvas.warnings = cut_warning("prompt", canvas.positive) + _negative_warning(canvas)

    def _negative(self, canvas: Canvas) -> Embedding:
        recipe = canvas.recipe
        if not recipe.guided:
            return canvas.positive
        if not recipe.negative_prompt and canvas.checkpoint.zeros_for_no_negative:
            return canvas.positive.zeros()
        return self._embedding(canvas, recipe.negative_prompt, recipe.reading.of_negative)

    def _embedding(self, canvas: Canvas, text: str, reading: TextReading) -> Embedding:
        checkpoint, blend = canvas.checkpoint, canvas.recipe.blend

        def make() -> Embedding:
            switcher = self._pool.checkpoint(checkpoint.name).switcher
            switcher.put_on_text(blend)
            with torch.inference_mode():
                return encode_text(checkpoint, text, switcher.words, reading)

        return self._embeddings.get(embedding_key(checkpoint, blend, reading, text), make)


def _negative_warning(canvas: Canvas) -> tuple[str, ...]:
    if canvas.recipe.guided:
        return cut_warning("negative_prompt", canvas.negative)
    return (UNGUIDED,) if canvas.recipe.negative_prompt.strip() else ()


class EmbeddingCache:
    """The texts encoded last, by checkpoint, text encoder blend, reading and text, in at most `max_bytes`."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[EmbeddingKey, Embedding] = OrderedDict()
        self._held_bytes = 0

    def get(self, key: EmbeddingKey, make: Callable[[], Embedding]) -> Embedding:
        """The embedding held under `key`, else what `make` gives, held from now on."""
        found = self._held.get(key)
        if found is None:
            found = self._held[key] = make()
            self._held_bytes += found.size_bytes
            self._shrink()
        else:
            self._held.move_to_end(key)
        return found

    def _shrink(self) -> None:
        while self._held_bytes > self._max_bytes:
            _, gone = self._held.popitem(last=False)
            self._held_bytes -= gone.size_bytes


def embedding_key(checkpoint: Checkpoint, blend: Blend, reading: TextReading, text: str) -> EmbeddingKey:
    """What decides an embedding."""
    return checkpoint.name, blend.text_key, reading, text


def encode_text(
    checkpoint: Checkpoint,
    text: str,
    words: TextualInversions = NO_INVERSIONS,
    reading: TextReading = PLAIN_READING,
) -> Embedding:
    """With the text encoders' weights as they are now, and `words` standing for the vectors given, by component."""
    states: list[Tensor] = []
    pooled: Tensor | None = None
    tokenizers = tokenizers_of(checkpoint, words)
    for tokenizer, encoder in zip(tokenizers, checkpoint.text_encoders, strict=True):
        ids = tokenizer.framed(tokenizer.ids(text))
        with tokenizer.with_embeddings(ids):
            output = encoder(ids.to(encoder.device), output_hidden_states=True)
        states.append(output.hidden_states[-reading.clip_skip])
        if output[0].ndim == 2:
            pooled = output[0]
    if pooled is None:
        raise RuntimeError("the second text encoder gives no pooled state")
    return Embedding(torch.cat(states, dim=-1), pooled, tokenizers[0].cut(tokenizers[0].ids(text)))


def cut_warning(field: str, embedding: Embedding) -> tuple[str, ...]:
    """What to tell about a text that did not fit; nothing if it did."""
    if not embedding.cut:
        return ()
    shown = embedding.cut if len(embedding.cut) <= SHOWN_CHARS else f"{embedding.cut[:SHOWN_CHARS]}…"
    longest = embedding.tokens.shape[1]
    return (f"The {field} is longer than {longest} tokens; the model did not read: {shown}",)
