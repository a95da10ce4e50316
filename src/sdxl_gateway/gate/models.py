"""Takes a model name with its LoRAs, gives the checkpoint, the parts of the blend and the defaults they bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from sdxl_gateway.catalog.adapters import AdapterCatalog
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.names import Part, not_found, split_model
from sdxl_gateway.config import HouseStyle, Settings
from sdxl_gateway.core.errors import InvalidRequest, ModelNotFound

DEFAULT = "default"
MAX_HOPS = 8
NO_STYLE = HouseStyle()


@dataclass(frozen=True, slots=True)
class Named:
    """A LoRA to put on, and the request field that asked for it."""

    part: Part
    param: str = "model"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a model name stands for."""

    checkpoint: CheckpointEntry
    parts: tuple[Named, ...]
    style: HouseStyle = NO_STYLE


class ModelNames:
    """Looks names up: aliases, house styles, checkpoints, LoRAs, and blends of these."""

    def __init__(self, settings: Settings, checkpoints: Mapping[str, CheckpointEntry], adapters: AdapterCatalog):
        self._settings = settings
        self._checkpoints = checkpoints
        self._adapters = adapters

    def choose(self, name: str | None) -> Chosen:
        """Raises ModelNotFound, or InvalidRequest for a name that cannot be read."""
        return self._choose(name or self._settings.default_model, hops=0)

    def _choose(self, name: str, hops: int) -> Chosen:
        if hops > MAX_HOPS:
            raise ModelNotFound(f"The alias '{name[:80]}' leads back to itself.")
        for look in (self._style, self._checkpoint, self._alias):
            if (found := look(name, hops)) is not None:
                return found
        return self._blend(name, hops)

    def _style(self, name: str, hops: int) -> Chosen | None:
        style = self._settings.models.get(name)
        if style is None:
            return None
        base = self._base(style.checkpoint, hops)
        parts = (Named(Part(lora.name, lora.weight, lora.text_encoder_weight)) for lora in style.loras)
        return replace(base, parts=(*base.parts, *parts), style=style)

    def _base(self, name: str | None, hops: int) -> Chosen:
        return self._default_checkpoint() if name is None else self._choose(name, hops + 1)

    def _default_checkpoint(self) -> Chosen:
        """The default model's checkpoint where it is one, else the first configured."""
        checkpoints = self._checkpoints
        return Chosen(checkpoints.get(self._settings.default_model, next(iter(checkpoints.values()))), ())

    def _checkpoint(self, name: str, _: int) -> Chosen | None:
        entry = self._checkpoints.get(name) or _only_case_differs(name, self._checkpoints)
        return None if entry is None else Chosen(entry, ())

    def _alias(self, name: str, hops: int) -> Chosen | None:
        target = next((to for glob, to in self._settings.aliases.items() if fnmatchcase(name.lower(), glob)), None)
        if target is None:
            return None
        return self._choose(self._settings.default_model if target == DEFAULT else target, hops + 1)

    def _blend(self, name: str, hops: int) -> Chosen:
        first, *others = split_model(name)
        if first.weight is None and others:
            base = self._first_found(lambda: self._choose(first.name, hops + 1))
            if base is not None:
                return replace(base, parts=(*base.parts, *map(Named, self._known(others, name))))
        return replace(self._default_checkpoint(), parts=tuple(map(Named, self._known([first, *others], name))))

    def _first_found(self, look: Callable[[], Chosen]) -> Chosen | None:
        try:
            return look()
        except ModelNotFound:
            return None

    def _known(self, parts: list[Part], whole: str) -> list[Part]:
        for part in parts:
            try:
                self._adapters.find(part.name)
            except ModelNotFound as unknown:
                if len(parts) == 1 and part.weight is None:
                    raise not_found(whole, self.names()) from unknown
                raise
        return parts

    def names(self) -> list[str]:
        """Everything that can be asked for by one word, aliases left out."""
        adapters = [entry.name for entry in self._adapters.list()]
        return [*self._checkpoints, *self._settings.models, *adapters]


def _only_case_differs(name: str, checkpoints: Mapping[str, CheckpointEntry]) -> CheckpointEntry | None:
    return next((entry for known, entry in checkpoints.items() if known.lower() == name.lower()), None)


def check_count(parts: tuple[Named, ...], limit: int) -> None:
    if len(parts) > limit:
        raise InvalidRequest(f"At most {limit} LoRAs go into one picture; {len(parts)} were asked for.", param="loras")
