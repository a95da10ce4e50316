"""Takes the settings, gives what stands beside checkpoints in a painting: ControlNets, upscalers, the IP-Adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Self

from sdxl_gateway.catalog.controls import ControlEntry, open_control
from sdxl_gateway.catalog.current import Current
from sdxl_gateway.catalog.ip_adapters import IpAdapterFile, open_ip_adapter
from sdxl_gateway.catalog.upscalers import UpscalerEntry, open_upscaler
from sdxl_gateway.config import Settings


@dataclass(frozen=True, slots=True)
class SideModels:
    """By the names of their sections; `ip_adapter` has one entry at most."""

    controls: Current[ControlEntry]
    upscalers: Current[UpscalerEntry]
    ip_adapter: Current[IpAdapterFile]

    @classmethod
    def open(cls, settings: Settings, on_adapter: Callable[[IpAdapterFile], None] = lambda _: None) -> Self:
        """All of them. Raises CheckpointProblem for the first that cannot be served.

        `on_adapter` is told, on the thread of `refresh`, when another IP-Adapter lies there.
        """
        controls = {name: partial(open_control, name, section) for name, section in settings.controls.items()}
        upscalers = {name: partial(open_upscaler, name, section) for name, section in settings.upscalers.items()}
        section = settings.ip_adapter
        adapter = {section.path: partial(open_ip_adapter, section)} if section.path else {}
        return cls(
            Current(controls, lambda entry: entry.places),
            Current(upscalers, lambda entry: (entry.path,)),
            Current(adapter, lambda file: file.places, on_adapter),
        )

    def refresh(self) -> None:
        """Opens again what has other files by now; from any thread."""
        for looked_at in (self.controls, self.upscalers, self.ip_adapter):
            looked_at.refresh()
