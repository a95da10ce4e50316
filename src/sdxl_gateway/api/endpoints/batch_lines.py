"""Reads and answers lines of batches as the endpoints that paint do."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from sdxl_gateway.api.asks.batches import ENDPOINTS, read_line
from sdxl_gateway.api.asks.given import Rules
from sdxl_gateway.api.asks.parse import ReadAsk, read_ask
from sdxl_gateway.api.http.errors import answer_for, error_body
from sdxl_gateway.api.replies.images import arm_header, ignored_header, warning_header
from sdxl_gateway.api.replies.job_images import images_of
from sdxl_gateway.api.replies.links import Links
from sdxl_gateway.config import Settings
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.batch import Batch
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.errors import Cancelled, GatewayError, InvalidRequest
from sdxl_gateway.core.ports import Addresses, ImageStore
from sdxl_gateway.core.stored_job import StoredJob
from sdxl_gateway.gateway.batch_lines import Answer, BatchLine
from sdxl_gateway.gateway.named_pictures import NamedPictures
from sdxl_gateway.gateway.packed import unpack_ask, unpack_error, unpack_result


class BatchLines:
    """A gateway LineFormat with the current settings."""

    def __init__(self, settings: Settings, pictures: NamedPictures, images: ImageStore, addresses: Addresses) -> None:
        self._rules = Rules(settings.limits, settings.server.strict)
        self._pictures = pictures
        self._images = images
        self._addresses = addresses

    def read(self, number: int, line: bytes, endpoint: str) -> BatchLine:
        """As `read_line`."""
        return read_line(number, line, endpoint)

    async def ask(self, line: BatchLine, endpoint: str, caller: Caller) -> Ask:
        """The Ask of a line, with the pictures it refers to. Raises a Refusal."""
        read = await asyncio.to_thread(self._read_ask, line, endpoint)
        if read.ask.stream:
            raise InvalidRequest("A request of a batch is not streamed.", param="stream")
        return await self._pictures.brought(read.ask, caller)

    def _read_ask(self, line: BatchLine, endpoint: str) -> ReadAsk:
        return read_ask(ENDPOINTS[endpoint], line.body, self._rules)

    async def answer(self, line: BatchLine, job: StoredJob, batch: Batch) -> Answer:
        """The pictures of a completed job, with addresses that are valid until these expire; the error of another
        job."""
        if job.result is None:
            return self.refusal(Cancelled("The job was cancelled.") if job.error is None else unpack_error(job.error))
        links = Links(batch.base_url, self._addresses, math.inf)
        body = await images_of(job, self._images, links)
        whole = all("url" in entry or "b64_json" in entry for entry in body["data"])
        return Answer(200, body, await asyncio.to_thread(self._headers, line, job, batch), whole)

    def _headers(self, line: BatchLine, job: StoredJob, batch: Batch) -> dict[str, str]:
        result, settled = unpack_result(job.result or ""), unpack_ask(job.ask)
        warned = warning_header(replace(result.done, warnings=(*settled.warnings, *result.done.warnings)))
        return ignored_header(self._read_ask(line, batch.endpoint).ignored) | warned | arm_header(result.accepted)

    def refusal(self, error: GatewayError) -> Answer:
        """The status and body of the error, as the endpoint would have answered it."""
        return Answer(answer_for(error).status, error_body(error))
