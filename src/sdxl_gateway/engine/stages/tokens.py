"""Takes a text and textual inversions, gives token ids, and has a text encoder embed the inversions' ids.

An inversion's word is found in the text in any case, and the text around it is tokenised without it. Its vectors get
ids beyond the encoder's vocabulary, in order, as diffusers numbers the tokens it adds, so that encoders which pool at
the highest id pool alike. Tokenizers and embedding tables are never changed, so there is nothing to undo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor

from sdxl_gateway.core.prompt_syntax import Part, Segment
from sdxl_gateway.core.words import occurrences
from sdxl_gateway.engine.device import to_device
from sdxl_gateway.engine.lora.formats import TextualInversions
from sdxl_gateway.engine.models.checkpoint import Checkpoint
from sdxl_gateway.engine.stages.chunks import Chunk, Piece, Token, parted

COMMA = ",</w>"
"""As CLIP's vocabulary spells it."""

T = TypeVar("T")
NO_INVERSIONS: TextualInversions = MappingProxyType({})


def tokenizers_of(checkpoint: Checkpoint, words: TextualInversions) -> list[PromptTokenizer]:
    """One for each text encoder, with those of the (lower-case) `words` that have vectors for it."""
    encoders = zip(checkpoint.encoder_names, checkpoint.tokenizers, checkpoint.text_encoders, strict=True)
    return [
        PromptTokenizer(tokenizer, encoder, {word: by[name] for word, by in words.items() if name in by})
        for name, tokenizer, encoder in encoders
    ]


class PromptTokenizer:
    """A tokenizer and its text encoder's token embedding; `vectors` (count, width) of inversions, by word."""

    def __init__(self, tokenizer: Any, encoder: Any, vectors: Mapping[str, Tensor]) -> None:
        self._tokenizer = tokenizer
        self._table = encoder.get_input_embeddings()
        self._first_id = int(self._table.num_embeddings)
        self._vectors = list(vectors.values())
        self._word_ids: dict[str, range] = {}
        following = self._first_id
        for word, rows in vectors.items():
            self._word_ids[word] = range(following, following + len(rows))
            following += len(rows)

    def ids(self, text: str) -> list[int]:
        """The whole text's, without begin and end tokens."""
        return [token.id for token in chain.from_iterable(self._pieces(Segment(text)))]

    def parted(self, parts: Sequence[Part], most: int) -> tuple[list[Chunk], list[Token]]:
        """The tokens in at most `most` chunks, and those that do not fit into them."""
        pieces = [[*chain.from_iterable(map(self._pieces, part))] for part in parts]
        comma = self._tokenizer.convert_tokens_to_ids(COMMA)
        return parted(pieces, length=self._tokenizer.model_max_length - 2, comma=comma, most=most)

    def framed(self, chunks: Sequence[Chunk]) -> Tensor:
        """The ids, (chunks, 77): each chunk between the begin and the end token, then padding."""
        tokenizer = self._tokenizer
        begin, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
        return torch.tensor([[begin, *(token.id for token in chunk), end, *self._rest(chunk, pad)] for chunk in chunks])

    def weights(self, chunks: Sequence[Chunk]) -> Tensor:
        """The weights of those ids, (chunks, 77), float32."""
        return torch.tensor(
            [[1.0, *(token.weight for token in chunk), 1.0, *self._rest(chunk, 1.0)] for chunk in chunks]
        )

    def _rest(self, chunk: Chunk, filling: T) -> list[T]:
        return [filling] * (self._tokenizer.model_max_length - 2 - len(chunk))

    def _pieces(self, segment: Segment) -> list[Piece]:
        text, weight = segment
        pieces: list[Piece] = []
        rest = 0
        for word, start, end in occurrences(self._word_ids, text):
            pieces += self._plain(text[rest:start], weight)
            pieces.append(tuple(Token(one, weight) for one in self._word_ids[word]))
            rest = end
        return pieces + self._plain(text[rest:], weight)

    def text(self, tokens: Sequence[Token]) -> str:
        """The tokens decoded, with inversions by their words."""
        names = {own[0]: word for word, own in self._word_ids.items()}
        pieces: list[str] = []
        plain: list[int] = []
        for token, _ in tokens:
            if token < self._first_id:
                plain.append(token)
            elif token in names:
                pieces += [self._plain_text(plain), names[token]]
                plain = []
        return " ".join(filter(None, [*pieces, self._plain_text(plain)]))

    @contextmanager
    def with_embeddings(self, ids: Tensor, first_row: int = 0) -> Iterator[None]:
        """Inside the context, the encoder's token embedding gives the inversions' vectors where `ids` (chunks, 77) has
        their ids; these are a call's rows from `first_row` on."""
        chunks, columns = (ids >= self._first_id).nonzero(as_tuple=True)
        if not len(chunks):
            yield
            return
        rows = torch.cat(self._vectors)
        rows = rows[to_device(ids[chunks, columns] - self._first_id, rows.device)]
        positions = (chunks + first_row, columns)
        hooks = (
            self._table.register_forward_pre_hook(lambda _, arguments: (arguments[0].clamp(max=self._first_id - 1),)),
            self._table.register_forward_hook(lambda _, __, found: _put(found, positions, rows)),
        )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _plain(self, text: str, weight: float) -> list[Piece]:
        return [(Token(one, weight),) for one in self._tokenizer(text, add_special_tokens=False).input_ids]

    def _plain_text(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(ids)).strip()


def _put(embedded: Tensor, positions: tuple[Tensor, ...], rows: Tensor) -> Tensor:
    indices = tuple(to_device(position, embedded.device) for position in positions)
    return embedded.index_put(indices, rows.to(embedded.device, embedded.dtype))
