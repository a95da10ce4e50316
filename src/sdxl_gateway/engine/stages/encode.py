"""Takes a canvas's texts, gives the UNet's text inputs: hidden states of both encoders, pooled state of the second."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from sdxl_gateway.catalog.model_files import published_name
from sdxl_gateway.core.prompt import PLAIN_READING, TextReading
from sdxl_gateway.core.prompt_syntax import read_prompt
from sdxl_gateway.core.recipe import Blend, Recipe
from sdxl_gateway.engine.canvas import Canvas, Embedding
from sdxl_gateway.engine.device import to_device
from sdxl_gateway.engine.lora.formats import TextualInversions
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.models.pool import ModelPool
from sdxl_gateway.engine.stages.chunks import Chunk
from sdxl_gateway.engine.stages.stage import Stage
from sdxl_gateway.engine.stages.tokens import NO_INVERSIONS, PromptTokenizer, tokenizers_of

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
    """Encodes the texts of a canvas, with its phase's blend on the text encoders."""

    name = "encode"

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool
        self._embeddings: EmbeddingCache[EmbeddingKey, Embedding] = EmbeddingCache()

    def begin(self, canvas: Canvas) -> None:
        """Raises AdapterRefused or DoesNotFit if the blend cannot be put on."""
        self.hand_over(canvas)
        canvas.warnings = text_warnings("prompt", canvas.positive)
        canvas.warnings += _negative_warnings(canvas.recipe, canvas.negative)

    def hand_over(self, canvas: Canvas) -> None:
        """Errors as `begin`."""
        recipe = canvas.recipe
        texts = [(recipe.reading, recipe.prompt)]
        if _encodes_negative(canvas):
            texts.append((recipe.reading.of_negative, recipe.negative_prompt))
        positive, *others = self._embeddings_of(canvas, texts)
        negative = others[0] if others else positive.zeros() if recipe.guided else positive
        canvas.positive, canvas.negative = self._of_one_length(canvas, positive, negative)

    def _of_one_length(self, canvas: Canvas, positive: Embedding, negative: Embedding) -> tuple[Embedding, Embedding]:
        """The shorter one padded with chunks of empty text, encoded as that prompt is."""
        lengths = [one.tokens.shape[1] for one in (positive, negative)]
        if lengths[0] == lengths[1]:
            return positive, negative
        reading = canvas.recipe.reading
        empty, other = self._embeddings_of(canvas, [(reading, ""), (reading.of_negative, "")])
        return positive.padded(empty.tokens, max(lengths)), negative.padded(other.tokens, max(lengths))

    def _embeddings_of(self, canvas: Canvas, texts: Sequence[tuple[TextReading, str]]) -> list[Embedding]:
        """Those not cached are encoded together."""
        checkpoint, blend = canvas.checkpoint, canvas.phase.blend

        def make(missing: Sequence[EmbeddingKey]) -> list[Embedding]:
            switcher = self._pool.checkpoint(checkpoint.name).switcher
            switcher.put_on_text(blend)
            to_encode = [
                Text(text, {**self._inversions(checkpoint, reading), **switcher.words}, reading)
                for *_, reading, text in missing
            ]
            with torch.inference_mode():
                return encode_texts(checkpoint, to_encode)

        return self._embeddings.get_all([embedding_key(checkpoint, blend, *one) for one in texts], make)

    def _inversions(self, checkpoint: Checkpoint, reading: TextReading) -> TextualInversions:
        """From files of their own; of the same word in a LoRA of the blend, the LoRA's is used."""
        shapes = {
            published_name(component, "embeddings.token_embedding"): tuple(encoder.get_input_embeddings().weight.shape)
            for component, encoder in zip(checkpoint.encoder_names, checkpoint.text_encoders, strict=True)
        }
        files, device = self._pool.adapters.embeddings, checkpoint.device
        return {
            word: {name: to_device(rows, device) for name, rows in files.vectors(word, digest, shapes).items()}
            for word, digest in reading.embeddings
        }


def _encodes_negative(canvas: Canvas) -> bool:
    """The negative prompt is encoded; otherwise guidance, if any, uses zeros in its place."""
    recipe = canvas.recipe
    return recipe.guided and bool(recipe.negative_prompt or not canvas.checkpoint.zeros_for_no_negative)


def _negative_warnings(recipe: Recipe, negative: Embedding) -> tuple[str, ...]:
    if recipe.guided:
        return text_warnings("negative_prompt", negative)
    return (UNGUIDED,) if recipe.negative_prompt.strip() else ()


class Held(Protocol):
    """A value of a cache bounded in bytes."""

    @property
    def size_bytes(self) -> int:
        """Bytes that the value takes."""


class EmbeddingCache(Generic[KeyT, HeldT]):
    """A least-recently-used cache of at most `max_bytes`, keyed by everything that decides a value."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[KeyT, HeldT] = OrderedDict()
        self._held_bytes = 0

    def get(self, key: KeyT, make: Callable[[], HeldT]) -> HeldT:
        """The value cached under `key`, else the one that `make` gives, cached from now on."""
        return self.get_all([key], lambda _: [make()])[0]

    def get_all(self, keys: Sequence[KeyT], make: Callable[[Sequence[KeyT]], Sequence[HeldT]]) -> list[HeldT]:
        """As `get`, for several keys; `make` is called once at most, with all missing ones."""
        values = {key: self._held[key] for key in keys if key in self._held}
        missing = [key for key in dict.fromkeys(keys) if key not in values]
        if missing:
            values.update(zip(missing, make(missing), strict=True))
        for key, one in values.items():
            self._hold(key, one)
        return [values[key] for key in keys]

    def _hold(self, key: KeyT, one: HeldT) -> None:
        if key not in self._held:
            self._held_bytes += one.size_bytes
        self._held[key] = one
        self._held.move_to_end(key)
        self._shrink()

    def _shrink(self) -> None:
        while self._held_bytes > self._max_bytes:
            _, gone = self._held.popitem(last=False)
            self._held_bytes -= gone.size_bytes


def embedding_key(checkpoint: Checkpoint, blend: Blend, reading: TextReading, text: str) -> EmbeddingKey:
    """Everything that decides an embedding."""
    return checkpoint.name, blend.text_key, reading, text


@dataclass(frozen=True, slots=True)
class Text:
    """A text to encode; `words` are textual inversions' vectors, by word and component."""

    text: str
    words: TextualInversions
    reading: TextReading


@dataclass(frozen=True, slots=True, eq=False)
class _Chunks:
    """A text split into chunks by each encoder's tokenizer, padded to the same number; `rows` are theirs in a call."""

    tokenizers: Sequence[PromptTokenizer]
    chunks: Sequence[Sequence[Chunk]]
    cut: str
    later: tuple[str, ...]
    rows: slice

    @classmethod
    def of(cls, checkpoint: Checkpoint, text: Text, first_row: int) -> _Chunks:
        tokenizers = tokenizers_of(checkpoint, text.words)
        parts = read_prompt(text.text, text.reading.syntax)
        split = [tokenizer.parted(parts, text.reading.max_chunks) for tokenizer in tokenizers]
        count = max(len(chunks) for chunks, _ in split)
        filled = [[*chunks, *[[]] * (count - len(chunks))] for chunks, _ in split]
        (_, *later), rest = split[0]
        beginnings = tuple(tokenizers[0].text(chunk[:BEGINNING_TOKENS]) for chunk in later)
        return cls(tokenizers, filled, tokenizers[0].text(rest), beginnings, slice(first_row, first_row + count))

    def ids(self, encoder: int) -> Tensor:
        """(rows, 77), on the host."""
        return self.tokenizers[encoder].framed(self.chunks[encoder])

    def states(self, encoder: int, all_rows: Tensor) -> Tensor:
        """The text's rows of the encoder's states, (rows, 77, width), weighted by token."""
        return weighted(all_rows[self.rows], self.tokenizers[encoder].weights(self.chunks[encoder]))


def encode_text(
    checkpoint: Checkpoint,
    text: str,
    words: TextualInversions = NO_INVERSIONS,
    reading: TextReading = PLAIN_READING,
) -> Embedding:
    """`encode_texts` of one."""
    return encode_texts(checkpoint, [Text(text, words, reading)])[0]


def encode_texts(checkpoint: Checkpoint, texts: Sequence[Text]) -> list[Embedding]:
    """With the text encoders' weights as they are now.

    On CUDA, where launch overhead dominates, all texts are rows of one call of each encoder. Kernels, and so rounding,
    depend on the number of rows, but a text's embedding must not depend on which others are cached: on other devices
    each text is encoded alone, and on CUDA a single row is doubled.
    """
    if checkpoint.device.type != "cuda":
        return [_together(checkpoint, [text])[0] for text in texts]
    return _together(checkpoint, texts)


def _together(checkpoint: Checkpoint, texts: Sequence[Text]) -> list[Embedding]:
    read: list[_Chunks] = []
    for text in texts:
        read.append(_Chunks.of(checkpoint, text, read[-1].rows.stop if read else 0))
    outputs = _encoded(checkpoint, read)
    pooled = next((output[0] for output in outputs if output[0].ndim == 2), None)
    if pooled is None:
        raise RuntimeError("neither text encoder gives a pooled state")
    return [
        Embedding(_tokens(outputs, one, text.reading), pooled[one.rows][:1], one.cut, one.later)
        for text, one in zip(texts, read, strict=True)
    ]


def _encoded(checkpoint: Checkpoint, read: Sequence[_Chunks]) -> list[Any]:
    """Each encoder's output for all rows; the ids are copied to the device at once."""
    encoders = range(len(checkpoint.text_encoders))
    ids = torch.stack([torch.cat([one.ids(encoder) for one in read]) for encoder in encoders])
    if checkpoint.device.type == "cuda" and ids.shape[1] == 1:
        ids = ids.repeat(1, 2, 1)
    device_ids, outputs = to_device(ids, checkpoint.device), []
    for number, encoder in enumerate(checkpoint.text_encoders):
        with ExitStack() as inversions:
            for one in read:
                inversions.enter_context(one.tokenizers[number].with_embeddings(one.ids(number), one.rows.start))
            outputs.append(encoder(device_ids[number], output_hidden_states=True))
    return outputs


def _tokens(outputs: Sequence[Any], one: _Chunks, reading: TextReading) -> Tensor:
    layers = [output.hidden_states[-reading.clip_skip] for output in outputs]
    return _in_a_row(torch.cat([one.states(encoder, layer) for encoder, layer in enumerate(layers)], dim=-1))


def weighted(states: Tensor, weights: Tensor) -> Tensor:
    """(chunks, 77, width) states times weights (chunks, 77), rescaled to keep each chunk's mean, as A1111 does.

    If all weights are 1, the states themselves, bit for bit.
    """
    if bool((weights == 1).all()):
        return states
    before = states.float()
    after = before * to_device(weights, states.device).unsqueeze(-1)
    mean_before, mean_after = (one.mean(dim=(1, 2), keepdim=True) for one in (before, after))
    factor = torch.where(mean_after == 0, 1.0, mean_before / mean_after)
    return (after * factor).to(states.dtype)


def _in_a_row(chunks: Tensor) -> Tensor:
    """(1, chunks * 77, width) of (chunks, 77, width)."""
    return chunks.flatten(0, 1).unsqueeze(0)


def text_warnings(field: str, embedding: Embedding) -> tuple[str, ...]:
    """Warnings about a text that was split into chunks or truncated."""
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
