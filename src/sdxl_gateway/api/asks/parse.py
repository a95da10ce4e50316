"""Parses a body's fields into an Ask: types and static ranges are checked here, names are looked up later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sdxl_gateway.api.asks import values
from sdxl_gateway.api.asks.background import read_background
from sdxl_gateway.api.asks.controls import PICTURES, check_all_used, read_controls
from sdxl_gateway.api.asks.field import PICTURE_KINDS
from sdxl_gateway.api.asks.fields import FORMATS, QUALITIES
from sdxl_gateway.api.asks.given import Files, Given, Rules
from sdxl_gateway.api.asks.loras import read_loras, with_default_weight
from sdxl_gateway.api.asks.padding import read_padding
from sdxl_gateway.api.asks.references import read_references
from sdxl_gateway.api.asks.sizes import checked_size, read_size
from sdxl_gateway.api.asks.webhooks import read_webhook_url
from sdxl_gateway.core.ask import Ask, ControlRef, LoraRef, Operation, Reference
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import NO_PADDING, Padding, Size
from sdxl_gateway.core.priority import Priority
from sdxl_gateway.core.recipe import Background

MAX_FIELDS = 300
MOST_COMPRESSION = 100
"""The best quality that the format has."""


@dataclass(frozen=True, slots=True)
class ReadAsk:
    """A parsed body; `ignored` are the names of fields in it that have no effect.

    `pictures` are the uploads by picture field; empty for a field without any.
    """

    ask: Ask
    ignored: tuple[str, ...] = ()
    pictures: Files = field(default_factory=dict)


def read_ask(
    operation: Operation, body: Mapping[str, Any], rules: Rules, *, files: Files | None = None, model: str | None = None
) -> ReadAsk:
    """The Ask of a body; `model` is the name in the URL, for bodies that name none.

    `body` has JSON values or a form's texts; both are read by the same rules. `files` are file parts of the form, and
    win over a picture in `body`. Raises InvalidRequest, InvalidImage or BodyTooLarge with the field's name as written.
    """
    given = _merged(body)
    reading = _AskReader(operation, given, rules, files or {})
    reading.refuse_foreign_pictures()
    reading.find_unknown()
    ask = reading.ask(model)
    return ReadAsk(ask, tuple(reading.ignored), reading.pictures)


def _merged(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without nulls, and with the fields of a literal `extra_body` added; those outside it win."""
    given = {key: value for key, value in body.items() if value is not None}
    extra = given.pop("extra_body", {})
    if not isinstance(extra, dict):
        raise values.wrong_type("extra_body", "an object", extra)
    merged = {key: value for key, value in extra.items() if value is not None} | given
    if len(merged) > MAX_FIELDS:
        raise InvalidRequest(
            f"At most {MAX_FIELDS} fields are read; this request has {len(merged)}.", code="too_many_fields"
        )
    return merged


class _AskReader(Given):
    """Reads each field of the Ask from the body."""

    def ask(self, model: str | None) -> Ask:
        """All fields; the order in which they are read decides which of several errors is reported."""
        prompt = self.text("prompt") or ""
        background = self._background()
        n, stream = self.integer("n"), bool(self.flag("stream"))
        if stream and n is not None and n > 1:
            raise InvalidRequest("Streaming is only supported with n=1.", param="n")
        self.pictures = {name: self.uploads(row) for name, row in self.table.items() if row.kind in PICTURE_KINDS}
        partial_images, compression = self.integer("partial_images"), self._compression()
        seed = self.integer("seed")
        loras, references = self._loras(), self._references()
        return Ask(
            operation=self.operation,
            prompt=prompt,
            model=self.text("model") or model,
            n=1 if n is None else n,
            size=self._size(),
            quality=QUALITIES[self.choice("quality") or "auto"],
            response_format=self.choice("response_format"),
            output_format=self._output_format(),
            output_compression=compression,
            stream=stream,
            partial_images=partial_images or 0,
            user=self.text("safety_identifier"),
            seed=None if seed == -1 else seed,
            negative_prompt=self.text("negative_prompt"),
            steps=self.integer("steps"),
            guidance_scale=self.number("guidance_scale"),
            sampler=self.text("sampler") or None,
            schedule=self.text("schedule") or None,
            eta=self.number("eta"),
            guidance_rescale=self.number("guidance_rescale"),
            guidance_end=self.number("guidance_end"),
            refiner=self.switch("refiner"),
            refiner_at=self.number("refiner_at"),
            strength=self.number("strength"),
            clip_skip=self.integer("clip_skip"),
            prompt_syntax=self.choice("prompt_syntax"),
            style=self.text("style") or None,
            enhance=bool(self.flag("enhance")),
            long_prompts=self.flag("long_prompts"),
            loras=loras,
            images=self.pictures.get("image", ()),
            mask=next(iter(self.pictures.get("mask", ())), None),
            padding=self._padding(),
            inpaint_padding=self.integer("inpaint_padding"),
            seam=self.integer("seam"),
            upscale=self._upscale(),
            upscaler=self.text("upscaler") or None,
            detail=self.number("detail"),
            embed_recipe=self.flag("embed_recipe"),
            priority=self._priority(),
            timeout=self.number("timeout"),
            background=background,
            replay=self.recipe.replay,
            controls=self._controls(),
            markup=next(iter(self.pictures.get("markup", ())), None),
            references=references,
            input_fidelity=self._fidelity(references),
            webhook_url=self._webhook_url(),
        )

    def _webhook_url(self) -> str | None:
        found = self.filled("webhook_url")
        return read_webhook_url(found.value, found.param) if found else None

    def _size(self) -> Size | None:
        """`size`, else `width` and `height`, which are ignored if they contradict `size`."""
        given, width, height = self.text("size"), self.integer("width"), self.integer("height")
        if given and (size := read_size(given, self.rules.limits.max_pixels)) is not None:
            sides = {"width": (width, size.width), "height": (height, size.height)}
            self.ignored.extend(name for name, (side, used) in sides.items() if side not in (None, used))
            return size
        if width is None and height is None:
            return None
        if width is None or height is None:
            raise values.missing("width" if width is None else "height")
        return checked_size(Size(width, height), self.rules.limits.max_pixels)

    def _background(self) -> Background | None:
        found, word = self.find("background"), self.choice("background")
        return read_background(word, found.param, self._output_format()) if found and word else None

    def _output_format(self) -> str:
        found = self.find("output_format")
        word = found.value.strip().lower() if found and isinstance(found.value, str) else ""
        if word in ("gif", "svg"):
            message = f"'{word}' pictures cannot be made here. Supported values are: 'png', 'jpeg', 'webp'."
            raise InvalidRequest(message, param="output_format")
        return FORMATS[self.choice("output_format") or "png"]

    def _compression(self) -> int:
        """The compression, without effect on PNG, which is lossless; many clients send 100 with it."""
        found = self.integer("output_compression")
        if found not in (None, MOST_COMPRESSION) and self._output_format() == "png":
            self.ignored.append("output_compression")
        return MOST_COMPRESSION if found is None else found

    def _loras(self) -> tuple[LoraRef, ...]:
        found, default = self.filled("loras"), self.number("lora_scale")
        if found is None:
            if default is not None:
                self.ignored.append("lora_scale")
            return ()
        before = len(self.ignored)
        loras = read_loras(found.value, found.param, self.ignored)
        self.refuse_unknown(before)
        return with_default_weight(loras, default)

    def _controls(self) -> tuple[ControlRef, ...]:
        found, beside = self.filled("controls"), self.pictures.get(PICTURES, ())
        if found is None:
            check_all_used(beside)
            return ()
        before = len(self.ignored)
        controls = read_controls(found.value, found.param, beside, self.rules.limits, self.ignored)
        self.refuse_unknown(before)
        return controls

    def _priority(self) -> Priority | None:
        word = self.choice("priority")
        return None if word is None else Priority.of(word)

    def _upscale(self) -> int:
        found = self.integer("upscale")
        if found == 3:
            raise InvalidRequest("Invalid 'upscale': pictures are enlarged 2 or 4 times.", param="upscale")
        return 1 if found is None else found

    def _padding(self) -> Padding:
        found = self.filled("padding")
        return read_padding(found.value, found.param) if found else NO_PADDING

    def _references(self) -> tuple[Reference, ...]:
        found, before = self.find("references"), len(self.ignored)
        beside, most = iter(self.pictures.get("reference_image", ())), self.rules.limits.max_image_bytes
        told = () if found is None else read_references(found.value, found.param, beside, most, self.ignored)
        self.refuse_unknown(before)
        return (*told, *map(Reference, beside))

    def _fidelity(self, references: tuple[Reference, ...]) -> str | float | None:
        """`input_fidelity`; many clients send it with a single picture to edit, where it has no effect."""
        found = self.filled("input_fidelity")
        if found is None:
            return None
        guiding = references or self.pictures.get("image", ())[1:] or self.pictures.get("markup")
        if not (guiding or self.operation is Operation.VARY):
            self.ignored.append("input_fidelity")
        return values.level(*found)
