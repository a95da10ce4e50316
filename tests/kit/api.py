"""A fake gateway, which answers without painting, and the application around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import httpx
import httpx2
import openai
from starlette.applications import Starlette

from sdxl_gateway.accounts.authenticator import KnownKeys
from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.accounts.static_keys import StaticKeys
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.api.http.closing import Closing
from sdxl_gateway.api.http.route import Route
from sdxl_gateway.api.routes import http_app, table
from sdxl_gateway.api.services import Services, always
from sdxl_gateway.catalog.checkpoint_folder.catalog import CheckpointCatalog
from sdxl_gateway.config import CheckpointFolder, Settings
from sdxl_gateway.core.ask import Ask, Place, Upload
from sdxl_gateway.core.caller import ANYBODY, Caller
from sdxl_gateway.core.errors import AdapterRefused, BodyTooLarge, GatewayError, InvalidRequest, ModelNotFound, NotFound
from sdxl_gateway.core.events import Event, RequestAnswered
from sdxl_gateway.core.picture import Size
from sdxl_gateway.core.rollout import Shares
from sdxl_gateway.delivery.receipt import Usage as Receipt
from sdxl_gateway.gateway.batches import Batches
from sdxl_gateway.gateway.checkpoint_card import CheckpointCards, CheckpointProblem
from sdxl_gateway.gateway.events import Accepted, Done, Item, Partial, Presented
from sdxl_gateway.gateway.file_pictures import FilePictures
from sdxl_gateway.gateway.fleet.arms import Arms
from sdxl_gateway.gateway.library import ModelCard, ModelKind, ModelLibrary
from sdxl_gateway.gateway.lora_card import LoraProblem, Warmth
from sdxl_gateway.gateway.moderations import Moderations
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.packed import SettledAsk
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.pauses import Pauses
from sdxl_gateway.gateway.status import ServerStatus
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.pictures.written import Written, read_written
from sdxl_gateway.storage.database import Database
from sdxl_gateway.storage.feedback import FeedbackStore
from sdxl_gateway.storage.files import FileStore
from sdxl_gateway.storage.remembered import Remembered
from sdxl_gateway.storage.reviews import ReviewStore
from sdxl_gateway.webhooks.store import WebhookStore
from tests.kit.backends import FakeLine
from tests.kit.images import MemoryImages, signer, stored
from tests.kit.pictures import PNG

GENERATE = "/v1/images/generations"
KEYED: dict[str, Any] = {"auth": {"api_keys": ["alpha", "béta"], "admin_keys": ["root"]}}
USAGE: Receipt = {
    "input_tokens": 3,
    "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
    "output_tokens": 20,
    "output_tokens_details": {"image_tokens": 20, "text_tokens": 0},
    "total_tokens": 23,
}


def card(name: str, kind: ModelKind = "checkpoint", ready: Warmth = "warm") -> ModelCard:
    """A model card of that name."""
    return ModelCard(name, 1_700_000_000, "you", kind, "", ready)


class FakeCheckpoints(CheckpointCards):
    """One checkpoint, and one file that is not a checkpoint."""

    def cards(self, caller: Caller = ANYBODY) -> list[Any]:
        return [{"id": "demo", "object": "checkpoint", "ready": "warm"}]

    def problems(self, caller: Caller = ANYBODY) -> list[CheckpointProblem]:
        return [{"file": "old.ckpt", "code": "invalid_checkpoint", "message": "It is never opened."}]

    async def describe(self, name: str, changes: Mapping[str, Any], caller: Caller = ANYBODY) -> Any:
        if name != "demo":
            raise ModelNotFound(f"There is no checkpoint '{name}'.", param="name")
        return {"id": name, "side_car": dict(changes)}


class FakeLibrary(ModelLibrary):
    """Two models, and the LoRA files that were added."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.max_file_bytes = 2**20
        self.checkpoints = FakeCheckpoints(CheckpointCatalog({}, CheckpointFolder()))

    def seen_by(self, caller: Caller) -> FakeLibrary:
        return self

    def models(self) -> list[ModelCard]:
        return [card("demo"), card("org/ink", "lora", "cold")]

    def model(self, name: str) -> ModelCard:
        for one in self.models():
            if one.id == name:
                return one
        raise ModelNotFound(f"The model '{name}' does not exist.")

    def operators_model(self, name: str) -> ModelCard:
        return self.model(name)

    def loras(self) -> list[Any]:
        return [{"name": name, "bytes": len(data)} for name, data in self.files.items()]

    def lora_problems(self) -> list[LoraProblem]:
        return [{"file": "cut.safetensors", "code": "invalid_lora", "message": "The file is cut short."}]

    async def lora(self, name: str) -> Any:
        if name not in self.files:
            raise ModelNotFound(f"The LoRA '{name}' does not exist.", param="name")
        return {"name": name, "bytes": len(self.files[name])}

    async def add_lora(self, name: str, data: AsyncIterator[bytes], replace: bool) -> None:
        if name in self.files and not replace:
            raise InvalidRequest("A LoRA of that name is there already.", param="name")
        whole = await self._whole(data)
        if name == "broken":
            raise AdapterRefused("The file is cut short.")
        self.files[name] = whole

    async def _whole(self, data: AsyncIterator[bytes]) -> bytes:
        whole = b""
        async for chunk in data:
            whole += chunk
            if len(whole) > self.max_file_bytes:
                raise BodyTooLarge("That is too much.", param="file")
        return whole

    async def describe_lora(self, name: str, changes: Mapping[str, Any]) -> Any:
        return {**await self.lora(name), "side_car": dict(changes)}

    async def add_checkpoint(self, name: str, content: AsyncIterator[bytes], caller: Caller = ANYBODY) -> Any:
        self.files[f"checkpoint {name}"] = await self._whole(content)
        return {"id": name, "object": "checkpoint", "digest": "d"}

    async def remove_checkpoint(self, name: str, caller: Caller = ANYBODY) -> None:
        await self.checkpoints.describe(name, {}, caller)

    async def remove_lora(self, name: str) -> None:
        await self.lora(name)
        del self.files[name]


@dataclass
class FakeGateway(Gateway):
    """Records each Ask; `hold` makes it wait after Accepted, `error` makes it raise (`late`: after Accepted)."""

    error: Exception | None = None
    late: bool = False
    hold: asyncio.Event | None = None
    ready: bool = True
    warnings: tuple[str, ...] = ()
    asks: list[Ask] = field(default_factory=list)
    callers: list[Caller] = field(default_factory=list)
    closed: int = 0
    began: asyncio.Event = field(default_factory=asyncio.Event)

    async def settled(self, ask: Ask, caller: Caller) -> SettledAsk:
        self.asks.append(ask)
        return SettledAsk(replace(ask, seed=ask.seed or 1), ask.prompt)

    async def paint(
        self, ask: Ask, caller: Caller, *, keep: bool = False, must_keep: bool = False, job_id: str | None = None
    ) -> AsyncGenerator[Item, None]:
        self.asks.append(ask)
        self.callers.append(caller)
        try:
            async for item in self._items(ask, keep):
                yield item
        finally:
            self.closed += 1

    async def _items(self, ask: Ask, keep: bool) -> AsyncIterator[Item]:
        if self.error is not None and not self.late:
            raise self.error
        yield Accepted("job-1", ask.size or Size(1024, 1024), ask.quality or "medium", ask.output_format)
        self.began.set()
        if self.hold is not None:
            await self.hold.wait()
        for index in range(ask.partial_images):
            yield Partial(index, PNG)
        if self.error is not None:
            raise self.error
        for index in range(ask.n):
            kept = stored(index) if keep else None
            yield Presented(index, PNG, kept, (ask.seed or 0) + index, {"checkpoint": "demo"})
        yield Done(USAGE, self.warnings)

    async def written(self, upload: Upload) -> Written:
        found = read_written(upload)
        if found is None:
            raise NotFound("It says nothing.", param=upload.field, code="no_recipe")
        return found

    @property
    def line(self) -> FakeLine:
        return FakeLine(waiting=1, running=2, wait_seconds=0.5)

    def readiness(self) -> dict[str, Any]:
        return {"engines": 1}


class Absent:
    """Stands for what a test does not need: every attribute of it raises NotFound."""

    def __getattr__(self, name: str) -> Any:
        raise NotFound("The test has none.")


ABSENT: Any = Absent()


@dataclass
class ServedApi:
    """The application, and the parts of it that tests inspect."""

    gateway: FakeGateway
    library: FakeLibrary
    images: MemoryImages
    app: Starlette
    rows: tuple[Route, ...]
    seen: list[RequestAnswered]
    told: list[Event]
    closing: Closing


def served_api(
    gateway: FakeGateway | None = None,
    *,
    ping_seconds: float = 10.0,
    more: Sequence[Route] = (),
    keys: KeyStore | None = None,
    moderations: Moderations | None = None,
    reviews: ReviewStore | None = None,
    feedback: FeedbackStore | None = None,
    rollouts: Mapping[str, Shares] = MappingProxyType({}),
    files: FileStore | None = None,
    batches: Batches | None = None,
    remembered: Remembered | None = None,
    pauses: Pauses | None = None,
    webhooks: WebhookStore | None = None,
    tasks: Tasks | None = None,
    **sections: Any,
) -> ServedApi:
    """The real application around a fake gateway; `sections` are settings, such as `server={"strict": True}`.

    `more` are routes in addition to the table's, `keys` a store of keys in addition to those of the settings, `files`
    the store of files that requests may refer to, and `tasks` store the jobs.
    """
    painter, library = gateway or FakeGateway(), FakeLibrary()
    settings = Settings.model_validate(sections)
    library.max_file_bytes = settings.loras.max_file_bytes
    images = MemoryImages()
    seen: list[RequestAnswered] = []
    told: list[Event] = []
    usage = Usage(Database(settings.data_directory))
    services = Services(
        authenticator=KnownKeys(StaticKeys(settings.auth), keys),
        keys=keys or ABSENT,
        moderations=moderations or ABSENT,
        reviews=reviews or ABSENT,
        feedback=feedback or ABSENT,
        arms=ABSENT if feedback is None else Arms(feedback),
        rollouts=lambda: rollouts,
        files=files or ABSENT,
        batches=batches or ABSENT,
        pictures=NamedPictures({} if files is None else {Place.FILE: FilePictures(files)}, most_bytes=2**20),
        remembered=remembered or ABSENT,
        pauses=pauses or Pauses(),
        webhooks=webhooks or ABSENT,
        tasks=tasks or ABSENT,
        gateway=painter,
        library=library,
        images=images,
        signer=signer(),
        addresses=signer(),
        usage=usage,
        limits=Limits(settings, LocalMeters(), usage),
        replies=ABSENT,
        ailing=tuple,
        admit=always,
        status=ServerStatus(),
        settings=settings,
        metrics=lambda accept: (f"# for {accept}\n".encode(), "text/plain; version=0.0.4; charset=utf-8"),
        version="0.0.0",
        on_request=seen.append,
        tell=told.append,
        ping_seconds=ping_seconds,
    )
    rows, closing = (*table(services), *more), Closing()
    app = http_app(services, rows=rows, closing=closing)
    return ServedApi(painter, library, images, app, rows, seen, told, closing)


def failing(error: GatewayError, *, late: bool = False) -> FakeGateway:
    return FakeGateway(error=error, late=late)


def official_client(served: ServedApi, key: str = "x") -> openai.AsyncOpenAI:
    """OpenAI's own client for that application."""
    http = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=served.app))
    return openai.AsyncOpenAI(
        base_url="http://gw/v1", api_key=key, http_client=http, max_retries=0, _strict_response_validation=True
    )


def client(served: ServedApi, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
    """A client for that application, with `headers` in each of its requests."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=served.app), base_url="http://gw", headers=headers)
