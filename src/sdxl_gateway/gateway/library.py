"""Takes the catalogues and what engines report, gives the models that callers may ask for, and which are warm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from copy import copy
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from sdxl_gateway.admission.configured_names import leading_to
from sdxl_gateway.admission.model_names import DEFAULT, ModelResolver, ResolvedModel
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.controls import ControlEntry
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry
from sdxl_gateway.config import HouseStyle, Settings
from sdxl_gateway.core.caller import ANYBODY, Caller
from sdxl_gateway.core.errors import AdapterRefused, Forbidden, ModelNotFound, Refusal, WrongState
from sdxl_gateway.core.events import EngineLost, Event, Failed, Finished, JobAccepted, Measured, MemoryHeld
from sdxl_gateway.core.recipe import Recipe
from sdxl_gateway.core.text import shown
from sdxl_gateway.gateway.capabilities import Capabilities, capabilities, with_arms
from sdxl_gateway.gateway.checkpoint_card import WARM_TIERS, Checkpoint, CheckpointCards
from sdxl_gateway.gateway.lora_card import Lora, LoraProblem, Warmth, lora_card

OWNER = "sdxl-gateway"
ModelKind = Literal["checkpoint", "alias", "style", "rollout", "lora", "blend"]


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One name a caller may ask for; `created` is unix seconds; a list leaves the capabilities out."""

    id: str
    created: int
    owned_by: str
    kind: ModelKind
    description: str
    ready: Warmth
    capabilities: Capabilities | None = None


class ModelLibrary:
    """The names on offer: checkpoints, house styles, aliases without wildcards, LoRAs."""

    def __init__(
        self,
        settings: Settings,
        checkpoints: CheckpointCatalog,
        adapters: LoraCatalog,
        names: ModelResolver,
        embeddings: EmbeddingCatalog | None = None,
        controls: Mapping[str, ControlEntry] | None = None,
    ) -> None:
        self._settings = settings
        self._checkpoints = checkpoints
        self.checkpoints = CheckpointCards(checkpoints)
        self._adapters = adapters
        self._names = names
        self._controls = controls or {}
        self._embeddings = embeddings or EmbeddingCatalog(settings.embeddings, settings.data_directory)
        self._caller = Caller()
        self._tiers: dict[str, dict[str, str]] = {}
        self._on: dict[str, frozenset[str]] = {}
        self._digests: dict[str, str] = {}
        self._last_used: dict[str, int] = {}
        self._jobs: dict[str, frozenset[str]] = {}

    def with_settings(self, settings: Settings, names: ModelResolver) -> ModelLibrary:
        """The same library under other settings; what it knows of engines and jobs is shared."""
        other = copy(self)
        other._settings, other._names = settings, names
        return other

    def seen_by(self, caller: Caller) -> ModelLibrary:
        """The same library as the caller sees it, who may use only some models and LoRAs."""
        if caller.sees_everything:
            return self
        other = copy(self)
        other._caller = caller
        other._adapters = self._adapters.only(caller.loras)
        other._names = self._names.only(caller.sees_model, other._adapters)
        return other

    def on_event(self, event: Event) -> None:
        """Note which LoRAs are asked for, and what each engine holds (a Listener)."""
        self.checkpoints.on_event(event)
        match event:
            case JobAccepted():
                self._used(event.recipe, int(event.arrived))
                self._jobs[event.job_id] = event.recipe.digests
            case Finished() | Failed():
                self._jobs.pop(event.job_id, None)
            case Measured(engine_id=engine_id, measurement=MemoryHeld(warm=warm, blend=blend)):
                held = {digest: tier for tier in reversed(WARM_TIERS) for digest in warm.get(tier, ())}
                self._tiers[engine_id], self._on[engine_id] = held, frozenset(digest for digest, _ in blend)
            case EngineLost(engine_id=engine_id):
                self._tiers.pop(engine_id, None)
                self._on.pop(engine_id, None)
            case _:
                pass

    @property
    def digests_in_use(self) -> frozenset[str]:
        """The LoRAs and embeddings whose copies are needed: of jobs that run or wait, or are about to be accepted."""
        lately = self._adapters.lately_checked_in | self._embeddings.lately_checked_in
        return lately.union(*self._jobs.values())

    def _used(self, recipe: Recipe, at: int) -> None:
        for part in recipe.blend.parts:
            self._digests[part.name] = part.digest
            self._last_used[part.name] = at

    def models(self) -> list[ModelCard]:
        """Every name that can be asked for as it is: checkpoints, house styles, aliases without wildcards, LoRAs."""
        checkpoints = [
            ModelCard(
                entry.name,
                entry.created,
                OWNER,
                "checkpoint",
                entry.section.description or "",
                self.checkpoints.warmth(entry),
            )
            for entry in self._checkpoints.values()
            if self._caller.sees_model(entry.name)
        ]
        named = [card for card in (*self._styles(), *self._aliases()) if self._on_offer(card.id)]
        return [*checkpoints, *named, *map(self._lora_card, self._adapters.entries())]

    def _on_offer(self, name: str) -> bool:
        """Callers without restrictions also see names that resolve to nothing at the moment."""
        return self._caller.sees_everything or self._leads(name) is not None

    def _leads(self, name: str) -> tuple[ResolvedModel, list[LoraEntry]] | None:
        try:
            chosen = self._names.choose(name)
            return chosen, [self._adapters.find(lora.name) for lora in chosen.loras]
        except Refusal:
            return None

    def _styles(self) -> list[ModelCard]:
        return [self._style(name, style) for name, style in self._settings.models.items()]

    def _style(self, name: str, style: HouseStyle) -> ModelCard:
        kind: ModelKind = "rollout" if style.rollout else "style"
        words = _words(lora.name for lora in style.loras)
        return ModelCard(name, self._created, OWNER, kind, words, self._ready(name))

    def _aliases(self) -> list[ModelCard]:
        return [
            ModelCard(name, self._created, OWNER, "alias", self._target(to), self._ready(name))
            for name, to in self._settings.aliases.items()
            if not set(name) & set("*?[")
        ]

    def _target(self, name: str) -> str:
        return self._settings.default_model if name == DEFAULT else name

    @property
    def _created(self) -> int:
        return max((entry.created for entry in self._checkpoints.values()), default=0)

    def _lora_card(self, entry: LoraEntry) -> ModelCard:
        told = entry.defaults.description or entry.defaults.title or ""
        return ModelCard(entry.name, entry.created, OWNER, "lora", told, self._warmth(entry.name))

    def _warmth(self, name: str) -> Warmth:
        return "warm" if self._tier(self._digests.get(name)) in WARM_TIERS else "cold"

    def _tier(self, digest: str | None) -> str:
        """The nearest tier in which some engine holds the adapter."""
        held = {tiers.get(digest or "") for tiers in self._tiers.values()}
        return next((tier for tier in WARM_TIERS if tier in held), "disk")

    def _ready(self, name: str) -> Warmth:
        """Warm when the checkpoint and all LoRAs of a model name are; cold when one of them is not there."""
        led = self._leads(name)
        if led is None:
            return "cold"
        chosen, entries = led
        warmth = {self.checkpoints.warmth(chosen.checkpoint), *(self._warmth(entry.name) for entry in entries)}
        return "warm" if warmth == {"warm"} else "cold"

    def model(self, name: str) -> ModelCard:
        """The card of any name that can be asked for, blends and aliases too.

        Raises ModelNotFound, and AdapterRefused for a LoRA that is there and cannot be used.
        """
        card = next((card for card in self.models() if card.id == name), None)
        return replace(card or self._blend_card(name), capabilities=self._capabilities(name))

    def operators_model(self, name: str) -> ModelCard:
        """As `model`, and for a rollout, under any alias too, with its arms and shares."""
        card = self.model(name)
        if card.capabilities is None or (arm := self._names.choose(name).arm) is None:
            return card
        return replace(card, capabilities=with_arms(card.capabilities, self._names.rollouts[arm.rollout]))

    def _capabilities(self, name: str) -> Capabilities | None:
        """None for a house style with a LoRA that is not there."""
        try:
            checkpoint = self._names.choose(name).checkpoint
            words = self._embeddings.words(checkpoint)
            seen = filter(self._caller.sees_model, self._checkpoints)
            refiners = (name for name in seen if self._checkpoints[name].refines)
            return capabilities(
                checkpoint, self._settings, embeddings=words, refiners=refiners, controls=self._controls.values()
            )
        except Refusal:
            return None

    def _blend_card(self, name: str) -> ModelCard:
        chosen = self._names.choose(name)
        loras = [self._adapters.find(lora.name).name for lora in chosen.loras]
        kind: ModelKind = "blend" if loras else "alias"
        words = _words([chosen.checkpoint.name, *loras])
        return ModelCard(name, chosen.checkpoint.created, OWNER, kind, words, self._ready(name))

    def loras(self) -> list[Lora]:
        """Each LoRA as the API shows it, without its load report."""
        return [self._told(entry) for entry in self._adapters.entries()]

    def lora_problems(self) -> list[LoraProblem]:
        """What lies in the folders of LoRAs and embeddings and cannot be used, or not wholly, and why."""
        problems = (*self._adapters.problems, *self._embeddings.problems)
        return [{"file": one.file, "code": one.code, "message": one.message} for one in problems]

    async def lora(self, name: str) -> Lora:
        """One LoRA with its load report against the default checkpoint. Raises ModelNotFound."""
        entry = self._find(name)
        checkpoint = self._names.choose(None).checkpoint
        try:
            checked = await self._adapters.check_in(entry.name, checkpoint)
        except AdapterRefused as refused:
            return {**self._told(entry), "usable": False, "problem": refused.message}
        self._digests[entry.name] = checked.digest
        return {**self._told(entry), "usable": True, "checkpoint": checkpoint.name, "report": asdict(checked.report)}

    def _find(self, name: str) -> LoraEntry:
        try:
            return self._adapters.find(name)
        except (ModelNotFound, AdapterRefused) as error:
            raise type(error)(error.message, param="name") from error

    def _told(self, entry: LoraEntry) -> Lora:
        digest, last_used = self._digests.get(entry.name), self._last_used.get(entry.name)
        on, ready = any(digest in held for held in self._on.values()), self._warmth(entry.name)
        own, shared, tier = self._adapters.is_own(entry), self._adapters.is_shared(entry), self._tier(digest)
        return lora_card(entry, digest, ready, tier, on=on, last_used=last_used, in_folder=own, shared=shared)

    async def add_lora(self, name: str, data: AsyncIterator[bytes], replace: bool) -> None:
        """Put a LoRA that fits the default checkpoint into the folder; it can be used at once.

        Raises Forbidden, InvalidRequest, BodyTooLarge or AdapterRefused; the folder is as before then.
        """
        if not self._caller.sees_lora(name):
            raise Forbidden(f"This key is not for a LoRA of the name {shown(name)}.")
        checkpoint = self._names.choose(None).checkpoint
        entry = await self._adapters.add(name, data, checkpoint=checkpoint, replace=replace)
        self._forget(entry.name)

    async def remove_lora(self, name: str) -> None:
        """Remove the LoRA from the folder. Raises ModelNotFound."""
        entry = self._find(name)
        await self._adapters.remove(entry.name)
        self._forget(entry.name)

    async def describe_lora(self, name: str, changes: Mapping[str, Any]) -> Lora:
        """Change these values in its side-car; None removes one. Raises ModelNotFound, InvalidRequest."""
        return self._told(await self._adapters.change_sidecar(self._find(name).name, changes))

    async def add_checkpoint(self, name: str, content: AsyncIterator[bytes], caller: Caller = ANYBODY) -> Checkpoint:
        """Put a single file into the checkpoint folder; it is a model then, and LoRAs are checked against it.

        Raises Forbidden, InvalidRequest, BodyTooLarge, WrongState; the folder is as before then.
        """
        added = await self.checkpoints.add(name, content, caller)
        await self._adapters.refresh()
        return added

    async def remove_checkpoint(self, name: str, caller: Caller = ANYBODY) -> None:
        """Remove a checkpoint from the folder. Raises ModelNotFound, WrongState for one in use or not in the folder."""
        self.checkpoints.check_removable(name, caller)
        if keys := leading_to(self._settings, self._names, name):
            raise WrongState(f"The settings lead to the checkpoint {shown(name)}: {', '.join(keys)}.", param="name")
        await self._checkpoints.remove(name)
        await self._adapters.refresh()

    def _forget(self, name: str) -> None:
        """Another file may come to bear this name."""
        self._digests.pop(name, None)
        self._last_used.pop(name, None)


def _words(names: Iterable[str]) -> str:
    return " + ".join(names)
