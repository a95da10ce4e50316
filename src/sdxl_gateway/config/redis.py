"""The section of the Redis that several gateways share."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from sdxl_gateway.config.section import Bytes, Key, Seconds, Section


class Redis(Section):
    """Without `url` a gateway is alone. `prefix` begins every key; `timeout_seconds` is the longest that one question
    keeps a request waiting. Replies of at most `max_reply_bytes` lie there for the other gateways, together at most
    `max_replies_bytes`. A gateway that was not heard of for `lease_seconds` is gone, and others paint its jobs, whose
    pictures lie there where they have at most `max_upload_bytes`. Of kept pictures, and of files of at most
    `max_upload_bytes`, copies of `max_pictures_bytes` lie there, where there is no bucket; and of what was painted
    before, `max_results_bytes`, each request's with at most `max_reply_bytes`."""

    url: Key | None = None
    prefix: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "sdxl-gateway"
    timeout_seconds: Seconds = 0.25
    max_reply_bytes: Bytes = 8 * 2**20
    max_replies_bytes: Bytes = 256 * 2**20
    lease_seconds: Seconds = 15.0
    max_upload_bytes: Bytes = 8 * 2**20
    max_pictures_bytes: Bytes = 256 * 2**20
    max_results_bytes: Bytes = 256 * 2**20
