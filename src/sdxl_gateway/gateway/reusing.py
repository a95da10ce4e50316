"""Takes a resolved request, gives the key of its results in the cache: that of every request for the same pictures."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from typing import Any

from sdxl_gateway import __version__
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.events import LookupOutcome
from sdxl_gateway.core.picture import KeptRegion
from sdxl_gateway.delivery.deliver import Encoded, Output, Presented
from sdxl_gateway.delivery.results import Results
from sdxl_gateway.gateway.result_cache import ResultCache


@dataclass(frozen=True, slots=True)
class Place:
    """A request's place in the cache: its key, None when it is not cached, and the results found under it."""

    cache: ResultCache
    key: str | None = None
    found: Results | None = None

    @property
    def outcome(self) -> LookupOutcome | None:
        """What its caller is told; None when the cache was not asked."""
        if self.key is None:
            return None
        return "miss" if self.found is None else "hit"

    def fill(self, output: Output, made: Sequence[Presented], warnings: tuple[str, ...]) -> None:
        """Cache what was painted, if every picture was delivered, and was judged clean by all judges."""
        if self.key is None or len(made) < output.recipe.count or not all(one.clean for one in made):
            return
        pictures = tuple(Encoded(one.index, one.seed, one.data) for one in made)
        self.cache.put(self.key, Results(output.tenant, pictures, warnings, self.cache.clock()))


async def place_of(ask: Ask, output: Output, cache: ResultCache, settings: Settings) -> Place:
    """The request's place: by its seed, or, with the setting "prompt", for any seed when it names none."""
    mode, any_seed = settings.results.cache, ask.seed is None
    if mode == "off" or (any_seed and mode == "seeded"):
        return Place(cache)
    key = await asyncio.to_thread(key_of, output, settings, any_seed=any_seed)
    return Place(cache, key, await cache.find(key, output.tenant))


def key_of(output: Output, settings: Settings, *, any_seed: bool = False) -> str:
    """sha256, hex, of all that decides the bytes, and of whose they are.

    That is the whole recipe, names and digests too, what an inpaint keeps, how the picture is encoded and what is
    written into it, the tenant, and what it was judged by; and which
    version of the server painted it, for gateways of two may share the cache.
    """
    recipe = replace(output.recipe, seed=0) if any_seed else output.recipe
    judges = [section.model_dump(mode="json") for section in (settings.safety, settings.moderation)]
    embeds = settings.delivery.embed_recipe if output.embed_recipe is None else output.embed_recipe
    told = {
        "version": __version__,
        "tenant": output.tenant,
        "judged": [output.oversight.policy, judges],
        "recipe": asdict(recipe),
        "any_seed": any_seed,
        "kept": None if output.kept is None else _kept(output.kept),
        "encoded": [output.output_format, output.compression, embeds],
    }
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _kept(region: KeptRegion) -> list[Any]:
    box = None if region.box is None else asdict(region.box)
    return [region.original.digest, region.mask.digest, region.seam, box]
