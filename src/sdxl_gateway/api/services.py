"""What the endpoints are given: the gateway, the library, and the few things around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.config import Settings
from sdxl_gateway.core.events import RequestAnswered
from sdxl_gateway.core.listeners import Listener, unheard
from sdxl_gateway.core.ports import Addresses, Authenticator, ImageStore
from sdxl_gateway.core.rollout import Shares
from sdxl_gateway.delivery.signing import Signer
from sdxl_gateway.gateway.batches import Batches
from sdxl_gateway.gateway.fleet.arms import Arms
from sdxl_gateway.gateway.library import ModelLibrary
from sdxl_gateway.gateway.moderations import Moderations
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.paint import Gateway
from sdxl_gateway.gateway.pauses import Pauses
from sdxl_gateway.gateway.status import ServerStatus
from sdxl_gateway.gateway.tasks import Tasks
from sdxl_gateway.storage.feedback import FeedbackStore
from sdxl_gateway.storage.files import FileStore
from sdxl_gateway.storage.idempotency import KeptReplies
from sdxl_gateway.storage.remembered import Remembered
from sdxl_gateway.storage.reviews import ReviewStore
from sdxl_gateway.webhooks.store import WebhookStore


def always() -> None:
    """Lets everything be done, at any time."""


@dataclass(frozen=True, slots=True)
class Services:
    """`metrics` takes an Accept header and gives a body and its content type.

    `addresses` are told of pictures, `signer`'s where there are none; the signer tells which are good here.
    `ailing` names the background work that failed lately, and `rollouts` gives those there are, with the shares in
    force. `tell` hears of what endpoints do that others may ask about later (api/endpoints/acting.py), and `admit`
    raises where nothing that acts may be done at the moment.
    """

    gateway: Gateway
    library: ModelLibrary
    authenticator: Authenticator
    images: ImageStore
    signer: Signer
    settings: Settings
    metrics: Callable[[str], tuple[bytes, str]]
    version: str
    addresses: Addresses | None = None
    ailing: Callable[[], Sequence[str]] = tuple
    keys: KeyStore | None = None
    remembered: Remembered | None = None
    webhooks: WebhookStore | None = None
    pictures: NamedPictures = field(default_factory=lambda: NamedPictures({}, most_bytes=0))
    moderations: Moderations | None = None
    reviews: ReviewStore | None = None
    feedback: FeedbackStore | None = None
    arms: Arms | None = None
    rollouts: Callable[[], Mapping[str, Shares]] = dict
    usage: Usage | None = None
    limits: Limits | None = None
    files: FileStore | None = None
    batches: Batches | None = None
    replies: KeptReplies | None = None
    tasks: Tasks | None = None
    on_request: Callable[[RequestAnswered], None] = unheard
    tell: Listener = unheard
    admit: Callable[[], None] = always
    ping_seconds: float = 10.0
    pauses: Pauses = field(default_factory=Pauses)
    status: ServerStatus = field(default_factory=ServerStatus)
