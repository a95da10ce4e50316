"""Everything that endpoints use: the gateway, the library, and stores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sdxl_gateway.accounts.key_store import KeyStore
from sdxl_gateway.accounts.limits import Limits
from sdxl_gateway.accounts.usage import Usage
from sdxl_gateway.config import Settings
from sdxl_gateway.core.events import RequestAnswered
from sdxl_gateway.core.listeners import Listener
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
    """An `admit` that allows everything."""


@dataclass(frozen=True, slots=True)
class Services:
    """`metrics` takes an Accept header and returns a body and its content type.

    `addresses` makes the addresses of pictures, and `signer` verifies those of this server. `ailing` returns the names
    of background work that failed lately, and `rollouts` the rollouts with their current shares. `tell` announces what
    is to be audited (api/endpoints/acting.py), and `admit` raises when nothing that is to be audited can be done now.
    """

    gateway: Gateway
    library: ModelLibrary
    authenticator: Authenticator
    images: ImageStore
    signer: Signer
    addresses: Addresses
    settings: Settings
    metrics: Callable[[str], tuple[bytes, str]]
    version: str
    ailing: Callable[[], Sequence[str]]
    keys: KeyStore
    remembered: Remembered
    webhooks: WebhookStore
    pictures: NamedPictures
    moderations: Moderations
    reviews: ReviewStore
    feedback: FeedbackStore
    arms: Arms
    rollouts: Callable[[], Mapping[str, Shares]]
    usage: Usage
    limits: Limits
    files: FileStore
    batches: Batches
    replies: KeptReplies
    tasks: Tasks
    on_request: Callable[[RequestAnswered], None]
    tell: Listener
    admit: Callable[[], None]
    pauses: Pauses
    status: ServerStatus
    ping_seconds: float = 10.0
