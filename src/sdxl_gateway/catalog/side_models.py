"""Takes the settings, gives the models they name as they lie there now: checkpoints, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from sdxl_gateway.catalog.checkpoints import CheckpointEntry, open_checkpoint
from sdxl_gateway.catalog.controls import ControlEntry, open_control
from sdxl_gateway.catalog.current import Current
from sdxl_gateway.catalog.ip_adapters import IpAdapterFile, open_ip_adapter
from sdxl_gateway.catalog.upscalers import UpscalerEntry, open_upscaler
from sdxl_gateway.config import DEMO_MODEL, Settings


@dataclass(frozen=True, slots=True)
class SideModels:
    """By the names of their sections; `ip_adapter` has one entry at most.

    Of `checkpoints` it only says when another one lies there: what can be asked for is in the catalogue of checkpoints.
    """

    checkpoints: Current[CheckpointEntry]
    controls: Current[ControlEntry]
    upscalers: Current[UpscalerEntry]
    ip_adapter: Current[IpAdapterFile]

    @classmethod
    def open(
        cls,
        settings: Settings,
        on_adapter: Callable[[IpAdapterFile], None] = lambda _: None,
        on_checkpoint: Callable[[CheckpointEntry], None] = lambda _: None,
    ) -> Self:
        """All of them. Raises CheckpointProblem for the first that cannot be served.

        `on_adapter` and `on_checkpoint` are told, on the thread of `refresh`, when another one lies there.
        """
        checkpoints = {
            name: partial(open_checkpoint, name, section, DEMO_MODEL) for name, section in settings.checkpoints.items()
        }
        controls = {name: partial(open_control, name, section) for name, section in settings.controls.items()}
        upscalers = {name: partial(open_upscaler, name, section) for name, section in settings.upscalers.items()}
        section = settings.ip_adapter
        adapter = {section.path: partial(open_ip_adapter, section)} if section.path else {}
        return cls(
            Current(checkpoints, lambda entry: entry.places, on_checkpoint),
            Current(controls, lambda entry: entry.places),
            Current(upscalers, lambda entry: (entry.path,)),
            Current(adapter, lambda file: file.places, on_adapter),
        )

    def refresh(self) -> None:
        """Opens again what has other files by now; from any thread."""
        for looked_at in (self.checkpoints, self.controls, self.upscalers, self.ip_adapter):
            looked_at.refresh()
