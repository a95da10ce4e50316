"""Takes the checkpoints that are there, gives why a file fits none of them; decided from the header alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.safetensors_header import Header
from sdxl_gateway.core.errors import AdapterRefused


class Fit:
    """Tells the LoRAs of any checkpoint here from files that nothing can be done with.

    Refiners count for nothing: LoRAs are made for what paints alone. `key` is equal while verdicts hold. Without
    checkpoints nothing is known, and every file passes.
    """

    def __init__(self, checkpoints: Iterable[CheckpointEntry]) -> None:
        self._shapes: list[Mapping[str, tuple[int, ...]]] = []
        for checkpoint in checkpoints:
            if not checkpoint.refines and checkpoint.shapes not in self._shapes:
                self._shapes.append(checkpoint.shapes)
        self.key = hashlib.sha256(repr([sorted(shapes.items()) for shapes in self._shapes]).encode()).hexdigest()

    def check(self, header: Header) -> LoraPlan | None:
        """The plan for the first checkpoint that can take the file, None where there is no checkpoint.

        Raises AdapterRefused, with the first one's reason, where none can.
        """
        refusals: list[AdapterRefused] = []
        for shapes in self._shapes:
            try:
                return plan_lora(header, shapes)
            except AdapterRefused as refused:
                refusals.append(refused)
        if refusals:
            raise refusals[0]
        return None
