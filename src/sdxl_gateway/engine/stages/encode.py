"""Takes a canvas's texts, gives what the UNet reads of them: one layer's states of both encoders, one's pooled one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from sdxl_gateway.catalog.model_files import published_name
from sdxl_gateway.core.prompt import PLAIN_READING, TextReading
from sdxl_gateway.core.prompt_syntax import read_prompt
from sdxl_gateway.core.recipe import Blend, Recipe
from sdxl_gateway.engine.canvas import Canvas, Embedding
from sdxl_gateway.engine.lora.formats import TextualInversions
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.engine.stages.tokens import NO_INVERSIONS, tokenizers_of

CACHE_BYTES = 64 * 2**20
SHOWN_CHARS = 120
SHOWN_CHUNKS = 8
BEGINNING_TOKENS = 8
BEGINNING_CHARS = 30

UNGUIDED = "The negative_prompt changes nothing at a guidance_scale of 1 or less."

EmbeddingKey = tuple[str, tuple[tuple[str, float], ...], TextReading, str]
KeyT = TypeVar("KeyT")
HeldT = TypeVar("HeldT", bound="Held")


class Encode(Stage):
    """The texts of a canvas, with the text encoders' weights as its phase's blend has them."""

    name = "encode"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._embeddings: EmbeddingCache[EmbeddingKey, Embedding] = EmbeddingCache()

    def begin(self, canvas: Canvas) -> None:
        """Raises AdapterRefused or DoesNotFit where the blend cannot be put on."""
        self.hand_over(canvas)
        canvas.warnings = text_warnings("prompt", canvas.positive)
        canvas.warnings += _negative_warnings(canvas.recipe, canvas.negative)

    def hand_over(self, canvas: Canvas) -> None:
        """Errors as `begin`."""
        positive = self._embedding(canvas, canvas.recipe.prompt, canvas.recipe.reading)
        negative = self._negative(canvas, positive)
        canvas.positive, canvas.negative = self._of_one_length(canvas, positive, negative)

    def _negative(self, canvas: Canvas, positive: Embedding) -> Embedding:
        recipe = canvas.recipe
        if not recipe.guided:
            return positive
        if not recipe.negative_prompt and canvas.checkpoint.zeros_for_no_negative:
            return positive.zeros()
        return self._embedding(canvas, recipe.negative_prompt, recipe.reading.of_negative)

    def _of_one_length(self, canvas: Canvas, positive: Embedding, negative: Embedding) -> tuple[Embedding, Embedding]:
        """The shorter padded with chunks of no text, each read as its own prompt is."""
        lengths = [one.tokens.shape[1] for one in (positive, negative)]
        if lengths[0] == lengths[1]:
            return positive, negative
        reading = canvas.recipe.reading
        empty, other = (self._embedding(canvas, "", one).tokens for one in (reading, reading.of_negative))
        return positive.padded(empty, max(lengths)), negative.padded(other, max(lengths))

    def _embedding(self, canvas: Canvas, text: str, reading: TextReading) -> Embedding:
        checkpoint, blend = canvas.checkpoint, canvas.phase.blend

        def make() -> Embedding:
            switcher = self._pool.checkpoint(checkpoint.name).switcher
            switcher.put_on_text(blend)
            words = {**self._taught(checkpoint, reading), **switcher.words}
            with torch.inference_mode():
                return encode_text(checkpoint, text, words, reading)

        return self._embeddings.get(embedding_key(checkpoint, blend, reading, text), make)

    def _taught(self, checkpoint: Checkpoint, reading: TextReading) -> TextualInversions:
        """By files of their own; what a LoRA of the blend teaches goes before it."""
        shapes = {
            published_name(component, "embeddings.token_embedding"): tuple(encoder.get_input_embeddings().weight.shape)
            for component, encoder in zip(checkpoint.encoder_names, checkpoint.text_encoders, strict=True)
        }
        files = self._pool.adapters.embeddings
        return {
            word: {name: rows.to(checkpoint.device) for name, rows in files.vectors(word, digest, shapes).items()}
            for word, digest in reading.embeddings
        }


def _negative_warnings(recipe: Recipe, negative: Embedding) -> tuple[str, ...]:
    if recipe.guided:
        return text_warnings("negative_prompt", negative)
    return (UNGUIDED,) if recipe.negative_prompt.strip() else ()


class Held(Protocol):
    """What a cache may hold."""

    @property
    def size_bytes(self) -> int:
        """What it takes."""


class EmbeddingCache(Generic[KeyT, HeldT]):
    """What was encoded last, by all that decides it, in at most `max_bytes`."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[KeyT, HeldT] = OrderedDict()
        self._held_bytes = 0

    def get(self, key: KeyT, make: Callable[[], HeldT]) -> HeldT:
        """What is held under `key`, else what `make` gives, held from now on."""
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
    tokenizers = tokenizers_of(checkpoint, words)
    parts = read_prompt(text, reading.syntax)
    texts = [tokenizer.parted(parts, reading.max_chunks) for tokenizer in tokenizers]
    count = max(len(chunks) for chunks, _ in texts)
    states: list[Tensor] = []
    pooled: Tensor | None = None
    for tokenizer, encoder, (chunks, _) in zip(tokenizers, checkpoint.text_encoders, texts, strict=True):
        filled = [*chunks, *[[]] * (count - len(chunks))]
        ids = tokenizer.framed(filled)
        with tokenizer.with_embeddings(ids):
            output = encoder(ids.to(checkpoint.device), output_hidden_states=True)
        states.append(weighted(output.hidden_states[-reading.clip_skip], tokenizer.weights(filled)))
        if output[0].ndim == 2:
            pooled = output[0][:1]
    if pooled is None:
        raise RuntimeError("the second text encoder gives no pooled state")
    (_, *later), rest = texts[0]
    beginnings = tuple(tokenizers[0].text(chunk[:BEGINNING_TOKENS]) for chunk in later)
    return Embedding(_in_a_row(torch.cat(states, dim=-1)), pooled, tokenizers[0].text(rest), beginnings)


def weighted(states: Tensor, weights: Tensor) -> Tensor:
    """(chunks, 77, width) states, each times its weight of (chunks, 77); a chunk's mean stays what it was, as at A1111.

    Where all weights are 1 these are the states themselves, bit for bit.
    """
    if bool((weights == 1).all()):
        return states
    before = states.float()
    after = before * weights.to(states.device).unsqueeze(-1)
    mean_before, mean_after = (one.mean(dim=(1, 2), keepdim=True) for one in (before, after))
    factor = torch.where(mean_after == 0, 1.0, mean_before / mean_after)
    return (after * factor).to(states.dtype)


def _in_a_row(chunks: Tensor) -> Tensor:
    """(1, chunks * 77, width) of (chunks, 77, width)."""
    return chunks.flatten(0, 1).unsqueeze(0)


def text_warnings(field: str, embedding: Embedding) -> tuple[str, ...]:
    """What to tell about a text that is longer than the encoders read at once; nothing of one that is not."""
    return _parted_warning(field, embedding.later) + _cut_warning(field, embedding)


def _parted_warning(field: str, later: Sequence[str]) -> tuple[str, ...]:
    if not later:
        return ()
    shown = "; ".join(_shortened(text, BEGINNING_CHARS) for text in later[:SHOWN_CHUNKS])
    more = "; ..." if len(later) > SHOWN_CHUNKS else ""
    return (f"The {field} is read in {len(later) + 1} parts; the later ones begin with: {shown}{more}",)


def _cut_warning(field: str, embedding: Embedding) -> tuple[str, ...]:
    if not embedding.cut:
        return ()
    longest, cut = embedding.tokens.shape[1], _shortened(embedding.cut, SHOWN_CHARS)
    return (f"The {field} is longer than {longest} tokens; the model did not read: {cut}",)


def _shortened(text: str, chars: int) -> str:
    return text if len(text) <= chars else f"{text[:chars]}..."
