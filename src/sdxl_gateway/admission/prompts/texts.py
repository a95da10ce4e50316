"""Both prompts of an Ask as they are painted, and how they are to be read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from sdxl_gateway.admission.blends import with_triggers
from sdxl_gateway.admission.defaults import Usual
from sdxl_gateway.admission.prompts.clip_skip import clip_skip
from sdxl_gateway.admission.prompts.embeddings import embeddings_in
from sdxl_gateway.admission.prompts.styles import style_of
from sdxl_gateway.admission.prompts.syntax import check_prompt
from sdxl_gateway.admission.prompts.weights import weight_warning
from sdxl_gateway.catalog.checkpoints import CheckpointEntry
from sdxl_gateway.catalog.embedding_folder.catalog import EmbeddingCatalog
from sdxl_gateway.config import Settings, Style
from sdxl_gateway.core.ask import Ask
from sdxl_gateway.core.prompt import TextReading
from sdxl_gateway.core.prompt_syntax import PLAIN


@dataclass(frozen=True, slots=True)
class Texts:
    """Both prompts of a recipe; `warnings` name what in them has no effect."""

    prompt: str
    negative_prompt: str
    reading: TextReading
    warnings: tuple[str, ...] = ()


class TextReader:
    """Reads prompts as the request says, else its model, else the settings."""

    def __init__(self, settings: Settings, embeddings: EmbeddingCatalog | None = None) -> None:
        self._settings = settings
        self._embeddings = embeddings or EmbeddingCatalog(settings.embeddings, settings.data_directory)

    def with_settings(self, settings: Settings) -> TextReader:
        """A reader with other settings, and the same embeddings."""
        return TextReader(settings, self._embeddings)

    async def read(self, ask: Ask, prompt: str, usual: Usual, checkpoint: CheckpointEntry) -> Texts:
        """Both texts; `prompt` is without tags. Raises InvalidRequest naming the source of text it cannot parse."""
        reading = self._reading(ask, usual, checkpoint)
        style = style_of(ask.style, self._settings.styles)
        check_prompt(prompt, reading.syntax, param="prompt")
        texts = _prompt(ask, style.around(prompt), usual, reading), _negative_prompt(ask, style, usual, reading)
        for text in texts:
            check_prompt(text, reading.syntax, param="style")
        taught, warnings = await embeddings_in(texts, reading.syntax, self._embeddings, checkpoint)
        if reading.syntax == PLAIN:
            warnings += _weights_warned_of(ask)
        return Texts(*texts, replace(reading, embeddings=taught), warnings)

    def _reading(self, ask: Ask, usual: Usual, checkpoint: CheckpointEntry) -> TextReading:
        prompts = self._settings.prompts
        long_prompts = prompts.long_prompts if ask.long_prompts is None else ask.long_prompts
        return TextReading(
            clip_skip=clip_skip(ask.clip_skip, usual.clip_skip, checkpoint),
            max_chunks=self._settings.limits.max_prompt_chunks if long_prompts else 1,
            syntax=ask.prompt_syntax or usual.prompt_syntax or prompts.prompt_syntax,
        )


def _prompt(ask: Ask, prompt: str, usual: Usual, reading: TextReading) -> str:
    if ask.replay is not None and ask.replay.final_prompt:
        return prompt
    return with_triggers(prompt, usual.style, usual.recommended, reading.syntax)


def _negative_prompt(ask: Ask, style: Style, usual: Usual, reading: TextReading) -> str:
    own, param = usual.negative_prompt, "model"
    if ask.negative_prompt is not None:
        own, param = ask.negative_prompt, "negative_prompt"
    check_prompt(own, reading.syntax, param=param)
    return ", ".join([own, style.negative_prompt] if own and style.negative_prompt else [own or style.negative_prompt])


def _weights_warned_of(ask: Ask) -> tuple[str, ...]:
    return (
        *weight_warning(ask.prompt, "prompt"),
        *weight_warning(ask.negative_prompt or "", "negative_prompt"),
    )
