"""TextKeys: caches the cross-attention keys and values of a canvas's texts, instead of computing them in every step."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Self
from weakref import ref

from torch import Tensor

from sdxl_gateway.core.errors import DoesNotFit
from sdxl_gateway.core.recipe import BlendKey
from sdxl_gateway.engine.canvas import Canvas, PartFactory, StepPart, UNetCall, joined
from sdxl_gateway.engine.memory.ledger import VRAM, Ledger

TEXT_KEYS = "text keys"
"""The first word of their keys in the ledger; a number follows."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Kept:
    """`tensor` (rows, tokens, width) computed by `unet` with `blend` on; None once it has been evicted."""

    unet: Any
    blend: BlendKey
    tensor: Tensor | None
    key: Hashable

    def fits(self, call: UNetCall) -> bool:
        """The call uses the same weights."""
        return self.unet is call.unet and self.blend == call.blend


class Shelf:
    """Text keys of all canvases, accounted in the ledger, which may evict them; the next step then recomputes them."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._numbers = count()
        self._kept: dict[Hashable, ref[Kept]] = {}

    def keep(self, call: UNetCall, tensor: Tensor) -> Kept:
        """Keep `tensor` for as long as the result is referenced, if it fits."""
        self._drop_unreferenced()
        kept = Kept(call.unet, call.blend, tensor, (TEXT_KEYS, next(self._numbers)))
        try:
            self._ledger.hold(VRAM, kept.key, tensor.nbytes, partial(_evict, ref(kept)))
        except DoesNotFit:
            kept.tensor = None
        self._kept[kept.key] = ref(kept)
        return kept

    def use(self, kept: Kept) -> Tensor | None:
        """The tensor, now most recently used; None if it has been evicted."""
        self._ledger.touch(VRAM, kept.key)
        return kept.tensor

    def forget(self, kept: Kept) -> None:
        """Drop what is no longer needed."""
        self._drop(kept.key)

    def _drop_unreferenced(self) -> None:
        """Those of cancelled canvases, which are freed without `forget`, but still accounted in the ledger."""
        for key in [key for key, kept in self._kept.items() if kept() is None]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self._ledger.drop(VRAM, key)
        self._kept.pop(key, None)


def _evict(reference: ref[Kept]) -> None:
    if (kept := reference()) is not None:
        kept.tensor = None


class TextKeys(StepPart):
    """Joins after all parts that read the texts themselves; `rows` is its canvas's number of UNet rows."""

    def __init__(self, shelf: Shelf, rows: int) -> None:
        self._shelf = shelf
        self._rows = rows
        self._kept: Kept | None = None

    @property
    def key(self) -> tuple[()]:
        """Equal for all canvases, as each has the part."""
        return ()

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Replace the texts by their keys and values, unless the UNet has layers that cannot take them."""
        if call.text_layers.width:
            texts = call.arguments["encoder_hidden_states"].split([part._rows for part in parts])
            keys = [part._keys_and_values(text, call) for part, text in zip(parts, texts, strict=True)]
            call.arguments["encoder_hidden_states"] = joined(keys)

    def _keys_and_values(self, text: Tensor, call: UNetCall) -> Tensor:
        tensor = self._shelf.use(self._kept) if self._kept and self._kept.fits(call) else None
        if tensor is None:
            self._forget()
            tensor = call.text_layers.keys_and_values(text)
            self._kept = self._shelf.keep(call, tensor)
        return tensor

    def after_step(self, canvas: Canvas) -> None:
        """Free the memory before the decode, which needs much."""
        if canvas.steps_done + 1 >= canvas.sampler_steps:
            self._forget()

    def _forget(self) -> None:
        if self._kept is not None:
            self._shelf.forget(self._kept)
            self._kept = None

    def handed_over(self, canvas: Canvas) -> TextKeys:
        """Computed anew, as the texts were encoded anew."""
        self._forget()
        return TextKeys(self._shelf, canvas.rows)

    def of_prompt(self) -> TextKeys:
        """Computed anew, as those kept are of both rows."""
        self._forget()
        return TextKeys(self._shelf, 1)


def text_keys_on(ledger: Ledger) -> PartFactory:
    """The part's factory, which accounts what its parts keep in `ledger`."""
    shelf = Shelf(ledger)
    return lambda canvas: TextKeys(shelf, canvas.rows)
