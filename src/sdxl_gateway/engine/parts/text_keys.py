"""TextKeys: the keys and values of a canvas's texts, made once for a model and a blend rather than in every step."""

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
"""What the ledger calls those of one canvas, with a number."""


@dataclass(slots=True, eq=False, weakref_slot=True)
class Kept:
    """`made` (rows, tokens, width) by the weights of `unet` with that blend on; None once it had to leave."""

    unet: Any
    blend: BlendKey
    made: Tensor | None
    key: Hashable

    def fits(self, call: UNetCall) -> bool:
        """The call is made of the same weights."""
        return self.unet is call.unet and self.blend == call.blend


class Shelf:
    """What canvases keep, on the ledger. Others' need goes before: what has to leave is made anew in the next step."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._numbers = count()
        self._kept: dict[Hashable, ref[Kept]] = {}

    def keep(self, call: UNetCall, made: Tensor) -> Kept:
        """As long as somebody holds what is given."""
        self._forget_the_gone()
        kept = Kept(call.unet, call.blend, made, (TEXT_KEYS, next(self._numbers)))
        try:
            self._ledger.hold(VRAM, kept.key, made.nbytes, partial(_let_go, ref(kept)))
        except DoesNotFit:
            kept.made = None
        self._kept[kept.key] = ref(kept)
        return kept

    def taken(self, kept: Kept) -> Tensor | None:
        """What is kept, used now."""
        self._ledger.touch(VRAM, kept.key)
        return kept.made

    def forget(self, kept: Kept) -> None:
        """Nobody needs it any more."""
        self._drop(kept.key)

    def _forget_the_gone(self) -> None:
        """A canvas that is cancelled tells nobody; its memory is free at once, and on the ledger from now on."""
        for key in [key for key, kept in self._kept.items() if kept() is None]:
            self._drop(key)

    def _drop(self, key: Hashable) -> None:
        self._ledger.drop(VRAM, key)
        self._kept.pop(key, None)


def _let_go(kept: ref[Kept]) -> None:
    if (found := kept()) is not None:
        found.made = None


class TextKeys(StepPart):
    """Joins after all parts that read the texts themselves; `rows` are its canvas's."""

    def __init__(self, shelf: Shelf, rows: int) -> None:
        self._shelf = shelf
        self._rows = rows
        self._kept: Kept | None = None

    @property
    def key(self) -> tuple[()]:
        """Every canvas has some."""
        return ()

    @classmethod
    def join(cls, parts: Sequence[Self], call: UNetCall) -> None:
        """Ready-made keys and values take the texts' place, unless the UNet has layers that could not take them."""
        if call.text_layers.width:
            texts = call.arguments["encoder_hidden_states"].split([part._rows for part in parts])
            found = [part._made(text, call) for part, text in zip(parts, texts, strict=True)]
            call.arguments["encoder_hidden_states"] = joined(found)

    def _made(self, text: Tensor, call: UNetCall) -> Tensor:
        found = self._shelf.taken(self._kept) if self._kept and self._kept.fits(call) else None
        if found is None:
            self._let_go()
            found = call.text_layers.keys_and_values(text)
            self._kept = self._shelf.keep(call, found)
        return found

    def after_step(self, canvas: Canvas) -> None:
        """Nothing is kept beside the decode."""
        if canvas.steps_done + 1 >= canvas.sampler_steps:
            self._let_go()

    def _let_go(self) -> None:
        if self._kept is not None:
            self._shelf.forget(self._kept)
            self._kept = None

    def handed_over(self, canvas: Canvas) -> TextKeys:
        """The texts were encoded anew."""
        self._let_go()
        return TextKeys(self._shelf, canvas.rows)

    def of_prompt(self) -> TextKeys:
        """Made anew: what is kept is of both rows."""
        self._let_go()
        return TextKeys(self._shelf, 1)


def text_keys_on(ledger: Ledger) -> PartFactory:
    """The part's factory; `ledger` has what its parts keep."""
    shelf = Shelf(ledger)
    return lambda canvas: TextKeys(shelf, canvas.rows)
