"""Decides whether a file fits any of the checkpoints, from its header alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.safetensors_header import Header
from sdxl_gateway.core.errors import AdapterRefused


class Fit:
    """Distinguishes LoRAs that fit a checkpoint here from files that fit none.

    Refiners are ignored, because LoRAs are made for base models. Results are valid while `key` stays the same. Without
    checkpoints every file passes.
    """

    def __init__(self, checkpoints: Iterable[CheckpointEntry]) -> None:
        self._shapes: list[Mapping[str, tuple[int, ...]]] = []
        for checkpoint in checkpoints:
            if not checkpoint.refines and checkpoint.shapes not in self._shapes:
                self._shapes.append(checkpoint.shapes)
        self.key = hashlib.sha256(repr([sorted(shapes.items()) for shapes in self._shapes]).encode()).hexdigest()

    def check(self, header: Header) -> LoraPlan | None:
        """The plan for the first checkpoint that the file fits; None if there are no checkpoints.

        Raises AdapterRefused, with the reason of the first checkpoint, if it fits none.
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
