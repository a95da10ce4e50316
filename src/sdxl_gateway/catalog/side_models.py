"""The models that the settings name, as their files are now: checkpoints, ControlNets, upscalers, an IP-Adapter."""

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
    """Models by the names of their sections; `ip_adapter` has at most one entry.

    `checkpoints` is only used to notice replaced files: those that can be asked for are in the CheckpointCatalog.
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
        """Open all of them. Raises CheckpointProblem for the first that cannot be used.

        `on_adapter` and `on_checkpoint` are called with a replaced one, on the thread of `refresh`.
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
        """Open models again whose files have changed; from any thread."""
        for looked_at in (self.checkpoints, self.controls, self.upscalers, self.ip_adapter):
            looked_at.refresh()
