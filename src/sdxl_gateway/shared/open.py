"""Opens what this gateway shares with others, if it shares anything; imports redis only then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sdxl_gateway.accounts.key_store import Exchange, alone
from sdxl_gateway.accounts.meters import LocalMeters
from sdxl_gateway.config import Settings
from sdxl_gateway.core.errors import StartProblem
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.ports import Meters
from sdxl_gateway.storage.idempotency import Alone
from sdxl_gateway.storage.idempotency import Exchange as ReplyExchanging
from sdxl_gateway.storage.objects import Objects
from sdxl_gateway.storage.picture_folder import PictureFiles
from sdxl_gateway.storage.seal import Seal
from sdxl_gateway.storage.secret_file import secret_of

if TYPE_CHECKING:
    from sdxl_gateway.shared.batch_mirror import BatchMirror
    from sdxl_gateway.shared.file_mirror import FileMirror
    from sdxl_gateway.shared.job_mirror import JobMirror
    from sdxl_gateway.shared.link import Link
    from sdxl_gateway.shared.order_mirror import OrderMirror
    from sdxl_gateway.shared.picture_mirror import PictureMirror
    from sdxl_gateway.shared.question_mirror import QuestionMirror
    from sdxl_gateway.shared.result_mirror import ResultMirror


def _their_own(files: PictureFiles) -> PictureFiles:
    return files


class SharingProblem(StartProblem):
    """Sharing cannot be set up; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What this gateway shares with others. If it shares nothing, `meters` are its own, and `link`, `jobs`,
    `batches`, `files`, `results`, `orders`, `questions` and `deletes` (of pictures) are None.

    `local` is this gateway's own part of the `meters`; `works` are background tasks by name; `pictures` wraps a store
    so that other gateways find its pictures too; `results` takes the bucket for the results, if there is one.
    """

    local: LocalMeters
    meters: Meters
    keys: Exchange
    replies: ReplyExchanging
    works: Mapping[str, Callable[[], Awaitable[None]]]
    link: Link | None = None
    jobs: JobMirror | None = None
    batches: BatchMirror | None = None
    files: FileMirror | None = None
    pictures: Callable[[PictureFiles], PictureFiles] = _their_own
    results: Callable[[Objects | None], ResultMirror] | None = None
    orders: OrderMirror | None = None
    deletes: PictureMirror | None = None
    questions: QuestionMirror | None = None

    def ailing(self) -> Sequence[str]:
        """As of Background: what does not work at the moment."""
        return () if self.link is None else self.link.ailing

    async def close(self) -> None:
        """Close the connection, when nothing uses it any more."""
        if self.link is not None:
            await self.link.close()


SCHEMES = ("redis://", "rediss://", "unix://")
ID_FILE = "gateway-id"
"""The file of this gateway's id, which stays the same after a restart."""


def open_shared(settings: Settings, home: Path, meters: LocalMeters, seal: Seal, tell: Listener) -> Shared:
    """Raises SharingProblem if the extra is missing, the URL is not of Redis, or secrets to be shared are unset."""
    section = settings.redis
    if section.url is None:
        return Shared(meters, meters, alone, Alone(), {})
    url, pepper = section.url.get_secret_value(), _pepper(settings)
    if not url.startswith(SCHEMES):
        raise SharingProblem(f"redis.url: should begin with one of {', '.join(SCHEMES)}")
    try:
        from sdxl_gateway.shared.batches import SharedBatches
        from sdxl_gateway.shared.copies import Copies
        from sdxl_gateway.shared.envelope import Envelope
        from sdxl_gateway.shared.files import SharedFiles
        from sdxl_gateway.shared.jobs import SharedJobs
        from sdxl_gateway.shared.keys import KeyExchange
        from sdxl_gateway.shared.link import Link
        from sdxl_gateway.shared.meters import SharedMeters
        from sdxl_gateway.shared.notices import Notices
        from sdxl_gateway.shared.orders import SharedOrders
        from sdxl_gateway.shared.picture_deletes import PictureDeletes
        from sdxl_gateway.shared.pictures import CopiedPictures
        from sdxl_gateway.shared.questions import SharedQuestions
        from sdxl_gateway.shared.replies import Bounds, ReplyExchange
        from sdxl_gateway.shared.results import SharedResults
    except ImportError as problem:
        raise SharingProblem("redis.url: needs the extra: pip install 'sdxl-gateway[redis]'") from problem
    link = Link(url, section.prefix, section.timeout_seconds, tell)
    gateway_id = secret_of(None, home / ID_FILE).hex()[:16]
    shared = SharedMeters(link, meters, gateway_id)
    bounds = Bounds(settings.idempotency.keep_seconds, section.max_reply_bytes, section.max_replies_bytes)
    envelope, works = Envelope(pepper, seal), {"places": shared.renewing}
    replies = ReplyExchange(link, envelope, gateway_id, bounds)
    works["claims"] = replies.renewing
    jobs = SharedJobs(
        link,
        envelope,
        gateway_id,
        lease_seconds=section.lease_seconds,
        max_upload_bytes=section.max_upload_bytes,
    )
    batches = SharedBatches(link, envelope, gateway_id, section.max_upload_bytes)
    copies = Copies(link, "pictures", section.max_pictures_bytes)
    files = SharedFiles(link, envelope, gateway_id, copies, section.max_upload_bytes)
    copied = partial(CopiedPictures, link=link, envelope=envelope, copies=copies)
    pictures = _their_own if settings.s3.bucket else copied
    room = Copies(link, "results", section.max_results_bytes)
    results = partial(SharedResults, link, envelope, room, section.max_reply_bytes)
    keys, orders = KeyExchange(link, pepper), SharedOrders(link, envelope, gateway_id)
    deletes = PictureDeletes(Notices(link, envelope, "picture-deletes", settings.delivery.keep_seconds))
    questions = SharedQuestions(link, envelope, gateway_id)
    return Shared(
        local=meters,
        meters=shared,
        keys=keys,
        replies=replies,
        works=works,
        link=link,
        jobs=jobs,
        batches=batches,
        files=files,
        pictures=pictures,
        results=results,
        orders=orders,
        deletes=deletes,
        questions=questions,
    )


def _pepper(settings: Settings) -> bytes:
    """The shared pepper. Like the key that signs addresses, it must not be this gateway's own generated one."""
    secrets = {"auth.pepper": settings.auth.pepper, "delivery.url_key": settings.delivery.url_key}
    missing = [name for name, secret in secrets.items() if secret is None]
    if missing or settings.auth.pepper is None:
        raise SharingProblem(f"redis.url: gateways that share need one and the same {' and '.join(missing)}; set it.")
    return settings.auth.pepper.get_secret_value().encode()
