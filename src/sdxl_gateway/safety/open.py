"""Takes the `[safety]` and `[moderation]` sections, gives the judges they name; imports a network only if needed."""

from __future__ import annotations

from collections.abc import Callable

from sdxl_gateway.config import Safety, Settings
from sdxl_gateway.core.errors import SafetyProblem
from sdxl_gateway.core.safety import JudgeEnded, JudgeName
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.safety.judges import Judges, TextJudge
from sdxl_gateway.safety.picture_judge import PictureJudge
from sdxl_gateway.safety.remote import RemoteModeration
from sdxl_gateway.safety.words import DeniedWords


def open_picture_judge(section: Safety) -> PictureJudge | None:
    """None if pictures are not judged. Raises SafetyProblem."""
    if section.pictures == "off":
        return None
    try:
        from sdxl_gateway.safety.nsfw_net import NsfwNet
    except ImportError as error:
        raise SafetyProblem(f"safety.pictures: needs `pip install 'sdxl-gateway[safety]'` ({error}).") from error
    try:
        net = NsfwNet(section.threads)
    except Exception as error:  # for a bad file the package, onnxruntime and the system raise errors of many kinds
        raise SafetyProblem(f"safety.pictures: the net cannot be used: {error}.") from error
    return PictureJudge(net, at_once=section.at_once, seconds=section.seconds)


def open_judges(
    settings: Settings,
    egress: Egress,
    pictures: PictureJudge | None,
    tell: Callable[[JudgeEnded], None] = lambda ended: None,
) -> Judges:
    """With new judges of texts, and the given judge of pictures."""
    section, texts = settings.safety, dict[JudgeName, TextJudge]()
    words = DeniedWords(section.deny_words, section.deny_patterns)
    if not words.empty:
        texts["words"] = words
    if settings.moderation.base_url is not None:
        texts["moderation"] = RemoteModeration(settings.moderation, egress)
    return Judges(section, texts, pictures, tell)
