"""Takes a prompt, gives a richer one that a chat model wrote; any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import json
from typing import Any

from sdxl_gateway.admission.prompts.lora_tags import parted_from_tags
from sdxl_gateway.config import Enhancer
from sdxl_gateway.core.text import cleaned
from sdxl_gateway.egress.egress import Egress
from sdxl_gateway.egress.errors import EgressFailed, EgressRefused, Encoded, TooLarge, TooSlow

OK = 200
MAX_ANSWER_BYTES = 256 * 2**10
INSTRUCTIONS = (
    "You write prompts for an image model. Rewrite the user's prompt so that it says more of subject, composition, "
    "light and style, in one paragraph of at most 80 words. Keep what it asks for, and its language. Answer with the "
    "prompt alone."
)


class NotEnhanced(Exception):
    """The prompt could not be enhanced; the text, which says why, is for the caller."""


class ChatEnhancer:
    """Asks the operator's endpoint, once for each prompt; `max_chars` is the longest prompt that is taken."""

    def __init__(self, settings: Enhancer, egress: Egress, *, max_chars: int) -> None:
        self._settings = settings
        self._egress = egress
        self._max_chars = max_chars
        self._url = f"{(settings.base_url or '').rstrip('/')}/chat/completions"
        key = settings.key
        self._headers = {"content-type": "application/json"}
        if key is not None:
            self._headers["authorization"] = f"Bearer {key.get_secret_value()}"

    async def enhance(self, prompt: str) -> str:
        """The richer prompt, with the LoRA tags of the one given. Raises NotEnhanced, within the timeout."""
        words, tags = parted_from_tags(prompt)
        try:
            written = _written(await self._answer(words))
        except TooSlow:
            raise NotEnhanced(f"the model took longer than {self._settings.timeout_seconds:g} s") from None
        except TooLarge:
            raise NotEnhanced("the model's answer is too long") from None
        except Encoded:
            raise NotEnhanced("the model's answer cannot be read") from None
        except (EgressFailed, EgressRefused):
            raise NotEnhanced("the model could not be asked") from None
        return self._checked(written) + tags

    async def _answer(self, words: str) -> bytes:
        """The address is the operator's own setting, so that it may be a private one."""
        reply = await self._egress.post(
            self._url,
            content=json.dumps(self._body(words)).encode(),
            headers=self._headers,
            timeout_seconds=self._settings.timeout_seconds,
            max_bytes=MAX_ANSWER_BYTES,
            trusted=True,
        )
        if reply.status != OK:
            raise NotEnhanced(f"the model's server answered {reply.status}")
        return reply.content

    def _body(self, words: str) -> dict[str, Any]:
        roles = (("system", INSTRUCTIONS), ("user", words))
        messages = [{"role": role, "content": content} for role, content in roles]
        return {"model": self._settings.model, "messages": messages}

    def _checked(self, written: str) -> str:
        """The model's answer, if it is one line of words without LoRA tags. Raises NotEnhanced."""
        line = cleaned(written, self._max_chars + 1)
        if not line:
            raise NotEnhanced("the model wrote nothing")
        if len(line) > self._max_chars:
            raise NotEnhanced("the model's answer is too long")
        if parted_from_tags(line)[1]:
            raise NotEnhanced("the model wrote a LoRA tag")
        return line


def _written(answer: bytes) -> str:
    """The text in a chat completion. Raises NotEnhanced for anything else."""
    try:
        text = json.loads(answer)["choices"][0]["message"]["content"]
        if isinstance(text, str) and text.encode("utf-8"):
            return text
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        pass
    raise NotEnhanced("the model's answer cannot be read")
