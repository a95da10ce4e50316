"""Resolves a model name, which may have LoRAs, to a checkpoint, the parts of the blend and their defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from sdxl_gateway.admission.rollouts import Over, Pick, configured, in_force, leads, nothing_over
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.model_grammar import not_found, split_model, split_part
from sdxl_gateway.config import HouseStyle, Settings
from sdxl_gateway.core.ask import LoraRef
from sdxl_gateway.core.errors import AdapterRefused, ModelNotFound
from sdxl_gateway.core.rollout import Arm, Shares
from sdxl_gateway.core.text import shown

DEFAULT = "default"
MAX_HOPS = 8
NO_STYLE = HouseStyle()
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """What a model name stands for; `arm` where it is a rollout."""

    checkpoint: CheckpointEntry
    loras: tuple[LoraRef, ...]
    style: HouseStyle = NO_STYLE
    arm: Arm | None = None


@dataclass(frozen=True, slots=True)
class _Meaning:
    """As ResolvedModel, but LoRAs alone have no checkpoint yet."""

    checkpoint: CheckpointEntry | None = None
    parts: tuple[LoraRef, ...] = ()
    style: HouseStyle = NO_STYLE
    arm: Arm | None = None


class ModelResolver:
    """Resolves names: house styles, rollouts, checkpoints, aliases, LoRAs, and blends of these; case does not matter.

    `checkpoints` may change between two calls. `sees` must allow the first part of a name, not what that resolves to.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoints: Mapping[str, CheckpointEntry],
        adapters: LoraCatalog,
        sees: Callable[[str], bool] = bool,
        over: Over = nothing_over,
    ) -> None:
        self._settings = settings
        self._sees = sees
        self._checkpoints = checkpoints
        self._adapters = adapters
        self._pick: Pick = leads
        self._rollouts, self._over = configured(settings), over
        self._patterns = sorted(settings.aliases.items(), key=lambda alias: _particular(alias[0]), reverse=True)

    def choose(self, name: str | None) -> ResolvedModel:
        """The model of that name, None for the default one. Raises InvalidRequest for a malformed name, ModelNotFound.

        Raises AdapterRefused if the name, or a part of it, is that of a file which cannot be used.
        """
        asked = (name or "").strip() or self._settings.default_model
        self._check_seen(asked)
        meaning = self._meaning(asked, hops=0)
        try:
            self._check_known(meaning)
        except ModelNotFound:
            self._adapters.explain(asked)
            raise
        checkpoint = meaning.checkpoint or self._default_checkpoint()
        return ResolvedModel(checkpoint, meaning.parts, meaning.style, meaning.arm)

    def _check_seen(self, asked: str) -> None:
        """Raises ModelNotFound if the caller may not see the first part; for LoRAs alone that is the default model."""
        lead = asked if self._base(asked, hops=0) is not None else asked.split("+")[0].strip()
        leads = lead if self._base(lead, hops=0) is not None else self._settings.default_model
        if not self._sees(leads):
            raise not_found(lead, self.names())

    def only(self, sees: Callable[[str], bool], adapters: LoraCatalog) -> ModelResolver:
        """The resolver for a caller who may see only some names, and these LoRAs."""
        return ModelResolver(self._settings, self._checkpoints, adapters, sees, self._over).by(self._pick)

    @property
    def rollouts(self) -> dict[str, Shares]:
        """All rollouts, with the shares in force."""
        return in_force(self._rollouts, self._over)

    def by(self, pick: Pick) -> ModelResolver:
        """The resolver with rollouts' arms chosen by `pick`, instead of the largest ones."""
        other = copy(self)
        other._pick = pick
        return other

    def _default_checkpoint(self) -> CheckpointEntry:
        """The checkpoint for LoRAs alone: that of the default model, else the first of all.

        Of a rollout it is the largest arm's, as whoever does not ask for its blend takes no part in it.
        """
        default = self.by(leads)._meaning(self._settings.default_model, hops=0)
        found = default.checkpoint or next(iter(self._checkpoints.values()), None)
        if found is None:
            raise ModelNotFound("There is no checkpoint to put LoRAs on.")
        return found

    def _meaning(self, name: str, hops: int) -> _Meaning:
        """What a single name means, else the meaning of a blend's first part, with the LoRAs after it added."""
        if hops > MAX_HOPS:
            raise ModelNotFound(f"The model {shown(name)} leads back to itself.")
        if (base := self._base(name, hops)) is not None:
            return base
        first, *others = split_model(name)
        if not others:
            return _Meaning(parts=(first,))
        base = self._meaning(name.split("+")[0].strip(), hops + 1)
        return replace(base, parts=(*base.parts, *others))

    def _base(self, name: str, hops: int) -> _Meaning | None:
        for look in (self._rollout, self._style, self._checkpoint, self._alias):
            if (found := look(name, hops)) is not None:
                return found
        return None

    def _rollout(self, name: str, hops: int) -> _Meaning | None:
        found = _whatever_case(name, {rollout: (rollout, shares) for rollout, shares in self.rollouts.items()})
        if found is None:
            return None
        arm = Arm(found[0], self._pick(*found))
        return replace(self._meaning(arm.target, hops + 1), arm=arm)

    def _style(self, name: str, hops: int) -> _Meaning | None:
        style = _whatever_case(name, self._settings.models)
        if style is None:
            return None
        base = _Meaning() if style.checkpoint is None else self._meaning(style.checkpoint, hops + 1)
        parts = (LoraRef(lora.name, lora.weight, lora.text_encoder_weight, "model") for lora in style.loras)
        return replace(base, parts=(*base.parts, *parts), style=style)

    def _checkpoint(self, name: str, _: int) -> _Meaning | None:
        entry = _whatever_case(name, self._checkpoints)
        return None if entry is None else _Meaning(entry)

    def _alias(self, name: str, hops: int) -> _Meaning | None:
        target = _whatever_case(name, self._settings.aliases) or self._matched(name)
        if target is None:
            return None
        return self._meaning(self._settings.default_model if target == DEFAULT else target, hops + 1)

    def _matched(self, name: str) -> str | None:
        """The target of the most specific alias pattern; none for blends, names with a weight, and LoRAs."""
        if "+" in name or split_part(name, param="model").weight is not None or self._is_lora(name):
            return None
        return next((to for glob, to in self._patterns if fnmatchcase(name.lower(), glob.lower())), None)

    def _is_lora(self, name: str) -> bool:
        """Whether there is such a file, usable or not, or the name is ambiguous between several."""
        try:
            self._adapters.find(name)
        except ModelNotFound as unknown:
            return unknown.ambiguous
        except AdapterRefused:
            return True
        return True

    def _check_known(self, meaning: _Meaning) -> None:
        for place, lora in enumerate(meaning.parts):
            try:
                self._adapters.find(lora.name)
            except AdapterRefused:
                continue  # it is there but broken: the one who admits it says why
            except ModelNotFound as unknown:
                led = place > 0 or meaning.checkpoint is not None or meaning.style is not NO_STYLE
                led = led or meaning.arm is not None
                raise self._unknown(lora, unknown, led=led) from unknown

    def _unknown(self, lora: LoraRef, unknown: ModelNotFound, *, led: bool) -> ModelNotFound:
        """The error: a first name without a weight may have been meant as any model; others can only be LoRAs."""
        if not (led or unknown.ambiguous) and lora.weight is None:
            return not_found(lora.name, self.names())
        if self._base(lora.name, hops=0) is None:
            return unknown
        return ModelNotFound(f"{unknown.message} A model of that name stands first in a blend, without a weight.")

    def names(self) -> list[str]:
        """All single names that can be requested, without aliases."""
        adapters = [entry.name for entry in self._adapters.entries()]
        return [*filter(self._sees, (*self._checkpoints, *self._settings.models)), *adapters]


def _particular(glob: str) -> tuple[int, int]:
    """A sort key, higher for more specific patterns: those with more literal characters, then the longer ones."""
    return len(glob) - glob.count("*") - glob.count("?"), len(glob)


def _whatever_case(name: str, named: Mapping[str, T]) -> T | None:
    """The value under exactly this name, else under one that differs only in case."""
    if name in named:
        return named[name]
    return next((found for known, found in named.items() if known.lower() == name.lower()), None)
