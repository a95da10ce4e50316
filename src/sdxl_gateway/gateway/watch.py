"""Takes the texts and uploads of one request, has them judged, and does what its caller's policy says."""

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
    """Of one request under one policy; `listener` hears what is done. With `uploads` pictures that were sent count."""

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
        """How what is painted of this request is to be watched over."""
        return Oversight(self._policy, self._caller.tenant, self._caller.key_id, tuple(self._found))

    async def asked(self, ask: Ask) -> None:
        """What the caller wrote, tags and all. Raises ModerationBlocked, Unjudged."""
        await self.texts(ask.prompt, ask.negative_prompt or "")

    async def resolved(self, resolved: ResolvedAsk) -> None:
        """The prompt as it will be painted, and what it will be painted from. Raises ModerationBlocked, Unjudged."""
        recipe = resolved.recipe
        await self.texts(recipe.prompt, _words_of(recipe.prompt, recipe.reading.syntax))
        if self._policy is not Policy.OFF and self._looks:
            pictures = [await self._judges.picture(picture) for picture in _sent(resolved)]
            self._act(together(pictures), "upload")

    async def texts(self, *texts: str) -> None:
        """Each of them once. Raises ModerationBlocked, Unjudged."""
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
    """Without brackets and weights, which may stand within a word. What cannot be read is refused elsewhere."""
    try:
        return "".join(segment.text for part in read_prompt(prompt, syntax) for segment in part)
    except PromptSyntaxError:
        return prompt


def _sent(resolved: ResolvedAsk) -> list[Picture]:
    """Of an inpaint all that was sent, though only a part of it may be painted from; masks show nothing."""
    sent = {role: picture for role, picture in resolved.inputs.pictures.items() if role != "mask"}
    if resolved.kept is not None:
        sent["image"] = resolved.kept.original
    return list({picture.digest: picture for picture in sent.values()}.values())
