"""Has the texts and uploads of a request judged, and does what its caller's policy says."""

from __future__ import annotations

from sdxl_gateway.admission.resolve import ResolvedAsk
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.caller import Caller
from sdxl_gateway.core.listeners import Listener
from sdxl_gateway.core.picture import Picture
from sdxl_gateway.core.prompt_syntax import PromptSyntaxError, read_prompt
from sdxl_gateway.core.safety import Action, Moderated, Oversight, Policy, Stage, Verdict, together
from sdxl_gateway.safety.judges import Judges
from sdxl_gateway.safety.refusal import refusal


class Watch:
    """Of one request under one policy; `listener` hears what is done. With `uploads` sent pictures are judged too."""

    def __init__(self, judges: Judges, policy: Policy, caller: Caller, listener: Listener, *, uploads: bool) -> None:
        self._judges = judges
        self._policy = policy
        self._caller = caller
        self._listener = listener
        self._looks = uploads and judges.of_pictures
        self._judged: dict[str, None] = {}
        self._found: dict[str, None] = {}

    @property
    def oversight(self) -> Oversight:
        """How the pictures of this request are to be judged."""
        return Oversight(self._policy, self._caller.tenant, self._caller.key_id, tuple(self._found))

    async def asked(self, ask: Ask) -> None:
        """Judge what the caller wrote, LoRA tags included. Raises ModerationBlocked, Unjudged."""
        await self.texts(ask.prompt, ask.negative_prompt or "")

    async def resolved(self, resolved: ResolvedAsk) -> None:
        """Judge the final prompt and the uploads. Raises ModerationBlocked, Unjudged."""
        recipe = resolved.recipe
        await self.texts(recipe.prompt, _words_of(recipe.prompt, recipe.reading.syntax))
        if self._policy is not Policy.OFF and self._looks:
            pictures = [await self._judges.picture(picture) for picture in _sent(resolved)]
            self._act(together(pictures), "upload")

    async def texts(self, *texts: str) -> None:
        """Judge each text once. Raises ModerationBlocked, Unjudged."""
        new = [text for text in dict.fromkeys(texts) if text and text not in self._judged]
        if new and self._policy is not Policy.OFF and self._judges.of_texts:
            self._judged |= dict.fromkeys(new)
            self._act(await self._judges.texts(new), "prompt")

    def _act(self, verdict: Verdict, stage: Stage) -> None:
        if not verdict.found:
            return
        action: Action = "flagged" if self._policy is Policy.FLAG else "blocked"
        caller = self._caller
        self._listener(Moderated(caller.tenant, caller.key_id, "", stage, action, verdict.categories))
        if action == "blocked":
            raise refusal(verdict, "input")
        self._found |= dict.fromkeys(verdict.categories)


def _words_of(prompt: str, syntax: str) -> str:
    """The prompt without brackets and weights, which may split a word; itself when it cannot be read."""
    try:
        return "".join(segment.text for part in read_prompt(prompt, syntax) for segment in part)
    except PromptSyntaxError:
        return prompt


def _sent(resolved: ResolvedAsk) -> list[Picture]:
    """The pictures that were sent, except masks; of an inpaint the whole picture, not only the painted part."""
    sent = {role: picture for role, picture in resolved.inputs.pictures.items() if role != "mask"}
    if resolved.kept is not None:
        sent["image"] = resolved.kept.original
    return list({picture.digest: picture for picture in sent.values()}.values())
