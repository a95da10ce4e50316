"""Takes texts, has them judged by another server's `/moderations`, which must be compatible with OpenAI's."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from math import isfinite
from typing import Any

from sdxl_gateway.config import Moderation
from sdxl_gateway.core.safety import Verdict, together
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused, TooSlow
from sdxl_gateway.safety.failure import JudgeFailed

OK = 200
MAX_ANSWER_BYTES = 1024 * 1024
FLAGGED = "flagged"
"""The category of a flagged text for which the server names none."""
_NAME = re.compile(r"[a-z0-9_/ -]{1,40}")


class RemoteModeration:
    """The endpoint that the operator configured, at any address; all texts of a request are sent at once."""

    def __init__(self, section: Moderation, egress: Egress) -> None:
        self._section = section
        self._egress = egress
        self._url = f"{(section.base_url or '').rstrip('/')}/moderations"
        self._headers = {"content-type": "application/json"}
        if section.key is not None:
            self._headers["authorization"] = f"Bearer {section.key.get_secret_value()}"

    async def judge(self, texts: Sequence[str]) -> Verdict:
        """Raises JudgeFailed, within the configured timeout."""
        try:
            answer = await self._answer(texts)
        except TooSlow as problem:
            raise JudgeFailed("late", str(problem)) from None
        except (EgressFailed, EgressRefused) as problem:
            raise JudgeFailed("failed", str(problem)) from None
        return together(_verdicts(answer, len(texts)))

    async def _answer(self, texts: Sequence[str]) -> bytes:
        reply = await self._egress.post(
            self._url,
            content=json.dumps({"model": self._section.model, "input": list(texts)}).encode(),
            headers=self._headers,
            timeout_seconds=self._section.timeout_seconds,
            max_bytes=MAX_ANSWER_BYTES,
            trusted=True,
        )
        if reply.status != OK:
            raise JudgeFailed("failed", f"its server answered {reply.status}")
        return reply.content


def _verdicts(answer: bytes, texts: int) -> Iterator[Verdict]:
    """One for each text. Raises JudgeFailed for an answer of any other shape."""
    try:
        results = json.loads(answer)["results"]
        verdicts = [_verdict(result) for result in results]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        raise JudgeFailed("failed", "its answer cannot be read") from None
    if len(verdicts) != texts:
        raise JudgeFailed("failed", f"it answered {len(verdicts)} of {texts} texts")
    yield from verdicts


def _verdict(result: dict[str, Any]) -> Verdict:
    """Category names come from another server and reach callers: names of unusual form are left out."""
    flagged = result["flagged"]
    if not isinstance(flagged, bool):
        raise TypeError("no boolean")
    named = {name: yes for name, yes in result["categories"].items() if _NAME.fullmatch(name)}
    scores = {name: _score(value) for name, value in (result.get("category_scores") or {}).items() if name in named}
    categories = tuple(name for name, yes in named.items() if yes is True) or (FLAGGED,)
    return Verdict(categories if flagged else (), scores)


def _score(value: Any) -> float:
    """A finite number, as callers are sent it as JSON, which has no infinity."""
    score = float(value)
    if not isfinite(score):
        raise ValueError("no finite number")
    return score
