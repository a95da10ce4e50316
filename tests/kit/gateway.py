"""A gateway with a real admission gate for the demo model, and an engine that paints one colour immediately."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.admission.resolve import Admission
from sdxl_gateway.backends.fake_engine import READY, FakeCanvas, FakeEngine
from sdxl_gateway.backends.local import LocalBackend
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.catalog.lora_folder.catalog import LoraCatalog
from sdxl_gateway.config import DEMO_LORAS, Delivery, Loras, Settings
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.listeners import Listener, Listeners
from sdxl_gateway.core.picture import Picture, Size
from sdxl_gateway.core.ports import Measure
from sdxl_gateway.delivery.deliver import Deliverer
from sdxl_gateway.delivery.inspect import Inspection
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.gateway.events import Item
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.result_cache import ResultCache
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.blobs import BlobFolder
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.database import opened as opened_database
from sdxl_gateway.storage.jobs import JobStore, OnEnd
from sdxl_gateway.storage.reviews import ReviewStore
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.telemetry.metrics import Metrics
from sdxl_gateway.worker.serve import LoadedEngine
from tests.kit.admission import demo
from tests.kit.decoders import decoders
from tests.kit.images import MemoryImages
from tests.kit.judges import FakeNet, judges

PAINTED = (200, 30, 60)
CALLER = Caller(tenant="me")


class ColourEngine(FakeEngine):
    """The fake engine, with pictures in the real engine's mode."""

    def picture_of(self, canvas: FakeCanvas) -> Picture:
        width, height = canvas.recipe.paint_width, canvas.recipe.paint_height
        return Picture(width, height, "RGB", bytes(PAINTED) * (width * height))


def opened(measure: Measure) -> LoadedEngine[FakeCanvas]:
    return LoadedEngine(ColourEngine(measure), READY, 4)


@dataclass(frozen=True)
class GatewayKit:
    gateway: Gateway
    library: ModelLibrary
    metrics: Metrics
    images: MemoryImages
    tasks: Tasks

    async def paint(self, prompt: str = "a cat", **fields: Any) -> list[Item]:
        """All items of one request; the job takes 3 steps and its pictures are kept unless `fields` say otherwise."""
        keeping = {"keep": fields.pop("keep", True), "must_keep": fields.pop("must_keep", False)}
        caller = fields.pop("caller", CALLER)
        painted = self.gateway.paint(ask(prompt, **fields), caller, **keeping)
        async with asyncio.timeout(20), aclosing(painted) as items:
            return [item async for item in items]

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"sdxl_gateway_{name}", labels) or 0.0


def ask(prompt: str = "a cat", **fields: Any) -> Ask:
    if "size" in fields:
        fields["size"] = Size.of(fields["size"])
    return Ask(fields.pop("operation", Operation.GENERATE), prompt, **{"steps": 3, **fields})


@asynccontextmanager
async def gateway_kit(
    folder: Path,
    *,
    queue_size: int = 8,
    embed_recipe: bool = False,
    listeners: Sequence[Listener] = (),
    net: FakeNet | None = None,
    reviews: ReviewStore | None = None,
    on_end: Sequence[OnEnd] = (),
    seal: Seal | None = None,
    open_engine: Callable[[Measure], LoadedEngine[FakeCanvas]] = opened,
    **sections: Any,
) -> AsyncIterator[GatewayKit]:
    """`listeners` receive all events, besides metrics and library; `sections` are further sections of the settings.

    `net` judges pictures, and `reviews` store those that a person has to review. The kit's `tasks` only paint while
    their `running` does.
    """
    settings = Settings(
        data_directory=folder,
        loras=Loras(directory=DEMO_LORAS),
        delivery=Delivery(embed_recipe=embed_recipe),
        **sections,
    )
    checkpoints = CheckpointCatalog({"demo": demo()}, settings.checkpoint_folder)
    adapters = LoraCatalog(settings.loras, folder, checkpoints=checkpoints.values())
    adapters.scan()
    admission = Admission(settings, checkpoints, adapters, decoders())
    library = ModelLibrary(settings, checkpoints, adapters, admission.names)
    metrics, images = Metrics(["demo"], 10), MemoryImages()
    announce = Listeners(metrics.on_event, library.on_event, *listeners)
    backend = LocalBackend(open_engine, queue_size=queue_size, listener=announce)
    watching = judges(settings.safety, net, metrics.on_event, settings.moderation)
    inspection = Inspection(watching, announce, reviews)
    deliverer = Deliverer(images, embed_recipe=embed_recipe, inspection=inspection, listener=announce)
    limits = Limits(settings, LocalMeters(), Usage(Database(folder)))
    egress = Egress(settings.egress.private_hosts)
    results = ResultCache(max_bytes=settings.results.max_bytes, seconds=settings.results.seconds)
    gateway = Gateway(settings, admission, backend, deliverer, announce, egress, limits, results, watching)
    await backend.start()
    try:
        with opened_database(folder) as database:
            store = JobStore(database, BlobFolder(folder / "uploads"), seal, on_end=on_end)
            yield GatewayKit(gateway, library, metrics, images, Tasks(settings.jobs, store, gateway))
    finally:
        await backend.stop()


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def noise(size: tuple[int, int], hole: tuple[int, int, int, int] | None = None) -> Image.Image:
    """A random picture; transparent inside `hole`."""
    image = Image.effect_noise(size, 90).convert("RGBA")
    if hole is not None:
        image.paste((0, 0, 0, 0), hole)
    return image


def upload(image: Image.Image, field: str = "image") -> Upload:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return Upload(field, buffer.getvalue())
