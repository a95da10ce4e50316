"""Takes what the judges found, gives OpenAI's moderation object."""

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
"""Clients want all of them; what no judge looks for is false, at 0, and applied to nothing."""
OURS = "sdxl-gateway"


class ModerationResult(TypedDict):
    """Of one input; `category_applied_input_types` says what each category was looked for in: "text", "image"."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class ModerationReply(TypedDict):
    """The results in the inputs' order."""

    id: str
    model: str
    results: list[ModerationResult]


def moderation(model: str | None, judged: Sequence[Judged]) -> ModerationReply:
    """With the model's name as it was asked for."""
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
    """OpenAI's, and what these judges know besides."""
    more = (*judged.texts.scores, *judged.texts.categories, *judged.pictures.scores)
    return dict.fromkeys((*OPENAI, *more))
