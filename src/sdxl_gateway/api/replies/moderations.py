"""The judges' findings as OpenAI's moderation object."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from typing_extensions import TypedDict

from sdxl_gateway.gateway.moderations import Judged

OPENAI = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""Clients expect every category; one that no judge looks for is false, with score 0 and no input types."""
OURS = "sdxl-gateway"


class ModerationResult(TypedDict):
    """One input's result; `category_applied_input_types` is where each category was looked for: "text", "image"."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationReply(TypedDict):
    """The results, in the order of the inputs."""

    id: str
    model: str
    results: list[ModerationResult]


def moderation(model: str | None, judged: Sequence[Judged]) -> ModerationReply:
    """The moderation object; it echoes the requested model name."""
    return {"id": "modr-" + secrets.token_hex(12), "model": model or OURS, "results": [_result(one) for one in judged]}


def _result(judged: Judged) -> ModerationResult:
    both = (("text", judged.texts), ("image", judged.pictures))
    scores = {name: max(verdict.scores.get(name, 0.0) for _, verdict in both) for name in _names(judged)}
    found = {*judged.texts.categories, *judged.pictures.categories}
    return {
        "flagged": bool(found),
        "categories": {name: name in found for name in scores},
        "category_scores": scores,
        "category_applied_input_types": {
            name: [kind for kind, verdict in both if name in verdict.scores] for name in scores
        },
    }


def _names(judged: Judged) -> dict[str, None]:
    """OpenAI's categories, and the others that these judges know."""
    more = (*judged.texts.scores, *judged.texts.categories, *judged.pictures.scores)
    return dict.fromkeys((*OPENAI, *more))
