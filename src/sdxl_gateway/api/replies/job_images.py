"""A completed job's reply: as a synchronous request's would have been, with newly signed URLs."""

from __future__ import annotations

from sdxl_gateway.api.replies.images import ImagesResponse, Outcome, ReplyStyle, images_response
from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.core.errors import NotFound
from sdxl_gateway.core.ports import ImageStore
from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.delivery.deliver import Presented
from sdxl_gateway.gateway.events import Withheld
from sdxl_gateway.gateway.packed import JobResult, KeptPicture, unpack_ask, unpack_error, unpack_result


async def images_of(job: StoredJob, images: ImageStore, links: Links) -> ImagesResponse:
    """The reply of a completed job; a picture that is no longer stored has no data, and its URL leads nowhere.

    Raises ValueError for a job that is not completed.
    """
    if job.result is None or job.finished is None:
        raise ValueError("a job without a result")
    result, settled = unpack_result(job.result), unpack_ask(job.ask)
    style = ReplyStyle.of(settled.ask, links, prompt=settled.prompt)
    presented = [await _presented(one, style, images) for one in result.pictures]
    outcome = Outcome(style, result.accepted, tuple(presented), result.done, _withheld(result))
    response = images_response(outcome, int(job.finished))
    for entry in response["data"]:
        if entry.get("b64_json") == "":
            del entry["b64_json"]
    return response


async def _presented(kept: KeptPicture, style: ReplyStyle, images: ImageStore) -> Presented:
    data = await _data(kept, images) if style.b64 else b""
    return Presented(kept.index, data, kept.stored, kept.seed, kept.recipe, review=kept.review)


async def _data(kept: KeptPicture, images: ImageStore) -> bytes:
    try:
        return await images.read(kept.stored)
    except NotFound:
        return b""


def _withheld(result: JobResult) -> tuple[Withheld, ...]:
    return tuple(Withheld(one.index, one.seed, unpack_error(one.error)) for one in result.withheld)
