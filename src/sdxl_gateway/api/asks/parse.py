"""Takes a body's fields, gives the Ask: types and static ranges are checked here, names are looked up later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sdxl_gateway.api.asks import values
from sdxl_gateway.api.asks.controls import PICTURES, check_all_used, read_controls
from sdxl_gateway.api.asks.field import PICTURE_KINDS, Field, Kind
from sdxl_gateway.api.asks.fields import FORMATS, QUALITIES, fields_of, wire_fields
from sdxl_gateway.api.asks.loras import read_loras, with_default_weight
from sdxl_gateway.api.asks.padding import read_padding
from sdxl_gateway.api.asks.pictures import read_picture, read_pictures
from sdxl_gateway.api.asks.recipe import recipe_in
from sdxl_gateway.api.asks.sizes import checked_size, read_size
from sdxl_gateway.config import Limits
from sdxl_gateway.core.ask import Ask, ControlRef, LoraRef, Operation, Upload
from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.picture import NO_PADDING, Padding, Size

MAX_FIELDS = 300
_WHAT = {Operation.GENERATE: "A generation", Operation.EDIT: "An edit", Operation.VARY: "A variation"}
Files = Mapping[str, tuple[Upload, ...]]
"""Pictures by the name of their field."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The operator's part in reading a request; `strict` refuses fields the table does not know.

    `fields` is the table to read by; left empty it is the whole one under `limits`.
    """

    limits: Limits
    strict: bool = False
    fields: tuple[Field, ...] = ()

    @property
    def table(self) -> tuple[Field, ...]:
        """Every field that is known."""
        return self.fields or wire_fields(self.limits)


@dataclass(frozen=True, slots=True)
class ReadAsk:
    """What a body asks for; `ignored` are the names in it that have no effect.

    `pictures` are the uploads of every picture field, by its name; empty where none came.
    """

    ask: Ask
    ignored: tuple[str, ...] = ()
    pictures: Files = field(default_factory=dict)


def read_ask(
    operation: Operation, body: Mapping[str, Any], rules: Rules, *, files: Files | None = None, model: str | None = None
) -> ReadAsk:
    """The Ask in a body; `model` is the name the address gave, for bodies that name none.

    `body` holds JSON values or a form's texts; both are read by the same rules. `files` came as parts of the form and
    win over a picture in `body`. Raises InvalidRequest, InvalidImage
    or BodyTooLarge with the field's name as the caller wrote it.
    """
    given = _merged(body)
    reading = _Reading(operation, given, rules, files or {})
    reading.refuse_foreign_pictures()
    reading.find_unknown()
    ask = reading.ask(model)
    return ReadAsk(ask, tuple(reading.ignored), reading.pictures)


def _merged(body: Mapping[str, Any]) -> dict[str, Any]:
    """Nulls dropped, a literal `extra_body` folded in; what stands outside it wins."""
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


class _Reading:
    """One body being read against the table of its operation."""

    def __init__(self, operation: Operation, given: dict[str, Any], rules: Rules, files: Files) -> None:
        self._operation = operation
        self._table = {row.name: row for row in fields_of(rules.table, operation)}
        self._foreign = [row for row in rules.table if row.kind in PICTURE_KINDS and row.name not in self._table]
        self._recipe = recipe_in(given, self._table.values(), operation, rules.limits.max_pixels)
        self._given = given | self._recipe.fields
        self._rules = rules
        self._files = files
        self.ignored: list[str] = []
        self.pictures: dict[str, tuple[Upload, ...]] = {}

    def _named(self, word: str) -> str:
        return f"recipe.{word}" if word in self._recipe.fields else word

    def refuse_foreign_pictures(self) -> None:
        """A picture that only another operation reads would leave no trace in what is painted."""
        for row in self._foreign:
            given = [word for word in row.spellings if self._given.pop(word, None)]
            if given or self._files.get(row.name):
                word = given[0] if given else row.name
                raise _unsupported(word, f"{_WHAT[self._operation]} reads no '{word}': send it to /v1/images/edits.")

    def find_unknown(self) -> None:
        """Note what will have no effect; refuse it when the server is strict."""
        known = {word: row for row in self._table.values() for word in row.spellings}
        for key in self._given:
            if key == "markup" and self._operation is Operation.EDIT:
                raise _unsupported(key, "A markup picture cannot steer this model; use 'mask'.")
            if key in known and known[key].kind is not Kind.IGNORED:
                continue
            if key not in known and self._rules.strict:
                raise _unknown(self._named(key))
            self.ignored.append(self._named(key))
        for row in self._table.values():
            self.ignored.extend(self._outspoken(row))

    def _outspoken(self, row: Field) -> list[str]:
        """The spellings of a field that say something else than the one that counts, where pixels depend on it."""
        used = self._spelling(row)
        if used is None or not (row.extension or row.kind in PICTURE_KINDS):
            return []
        return [word for word in row.spellings if self._given.get(word, "") not in ("", self._given[used])]

    def _spelling(self, row: Field) -> str | None:
        """The first spelling that is not empty, else one that is; None when the field is absent."""
        given = [word for word in row.spellings if word in self._given]
        return next((word for word in given if self._given[word] != ""), given[0] if given else None)

    def ask(self, model: str | None) -> Ask:
        """All fields, read in an order that decides which of several mistakes is named."""
        prompt = self._text("prompt") or ""
        self._check_background()
        n, stream = self._integer("n"), bool(self._flag("stream"))
        if stream and n is not None and n > 1:
            raise InvalidRequest("Streaming is only supported with n=1.", param="n")
        self.pictures = {name: self._pictures(row) for name, row in self._table.items() if row.kind in PICTURE_KINDS}
        partial_images, compression = self._integer("partial_images"), self._integer("output_compression")
        seed = self._integer("seed")
        loras = self._loras()
        return Ask(
            operation=self._operation,
            prompt=prompt,
            model=self._text("model") or model,
            n=1 if n is None else n,
            size=self._size(),
            quality=QUALITIES[self._choice("quality") or "auto"],
            response_format=self._choice("response_format"),
            output_format=self._output_format(),
            output_compression=100 if compression is None else compression,
            stream=stream,
            partial_images=(partial_images or 0) if stream else 0,
            user=self._text("safety_identifier"),
            seed=None if seed == -1 else seed,
            negative_prompt=self._text("negative_prompt"),
            steps=self._integer("steps"),
            guidance_scale=self._number("guidance_scale"),
            sampler=self._text("sampler") or None,
            schedule=self._choice("schedule"),
            strength=self._number("strength"),
            clip_skip=self._integer("clip_skip"),
            prompt_syntax=self._choice("prompt_syntax"),
            style=self._text("style") or None,
            enhance=bool(self._flag("enhance")),
            long_prompts=self._flag("long_prompts"),
            loras=loras,
            images=self.pictures.get("image", ()),
            mask=next(iter(self.pictures.get("mask", ())), None),
            padding=self._padding(),
            inpaint_padding=self._integer("inpaint_padding"),
            seam=self._integer("seam"),
            embed_recipe=self._flag("embed_recipe"),
            replay=self._recipe.replay,
            controls=self._controls(),
        )

    def _find(self, name: str) -> tuple[Field, Any, str] | None:
        """The field's row, its value and the first spelling that is not empty; None when the field is absent."""
        row = self._table.get(name)
        if row is None:
            return None
        spelling = self._spelling(row)
        value = self._given[spelling] if spelling is not None else None
        if self._operation in row.required and (value is None or (isinstance(value, str) and not value.strip())):
            raise values.missing(spelling or row.name, given=spelling is not None)
        return None if spelling is None else (row, value, self._named(spelling))

    def _text(self, name: str) -> str | None:
        found = self._find(name)
        return values.text(*found) if found else None

    def _choice(self, name: str) -> str | None:
        found = self._find(name)
        if not found or found[1] == "":
            return None
        return values.choice(*found)

    def _flag(self, name: str) -> bool | None:
        found = self._find(name)
        return None if not found or found[1] == "" else values.flag(found[1], found[2])

    def _integer(self, name: str) -> int | None:
        found = self._find(name)
        return None if not found or found[1] == "" else values.integer(*found)

    def _number(self, name: str) -> float | None:
        found = self._find(name)
        return None if not found or found[1] == "" else values.number(*found)

    def _size(self) -> Size | None:
        """`size`, else `width` and `height`; beside a size that says otherwise these two have no effect."""
        given, width, height = self._text("size"), self._integer("width"), self._integer("height")
        if given and (size := read_size(given, self._rules.limits.max_pixels)) is not None:
            sides = {"width": (width, size.width), "height": (height, size.height)}
            self.ignored.extend(name for name, (side, used) in sides.items() if side not in (None, used))
            return size
        if width is None and height is None:
            return None
        if width is None or height is None:
            raise values.missing("width" if width is None else "height")
        return checked_size(Size(width, height), self._rules.limits.max_pixels)

    def _check_background(self) -> None:
        found = self._find("background")
        if found and isinstance(found[1], str) and found[1].strip().lower() == "transparent":
            raise InvalidRequest(
                "Transparent background is not supported: this model paints opaque pictures.", param="background"
            )
        self._choice("background")

    def _output_format(self) -> str:
        found = self._find("output_format")
        if found and isinstance(found[1], str) and found[1].strip().lower() in ("gif", "svg"):
            raise InvalidRequest(
                f"'{found[1].strip().lower()}' pictures cannot be made here. Supported values are: 'png', 'jpeg', "
                "'webp'.",
                param="output_format",
            )
        return FORMATS[self._choice("output_format") or "png"]

    def _loras(self) -> tuple[LoraRef, ...]:
        found, default = self._find("loras"), self._number("lora_scale")
        if found is None or found[1] == "":
            if default is not None:
                self.ignored.append("lora_scale")
            return ()
        before = len(self.ignored)
        loras = read_loras(found[1], found[2], self.ignored)
        self._refuse_unknown(before)
        return with_default_weight(loras, default)

    def _controls(self) -> tuple[ControlRef, ...]:
        found, beside = self._find("controls"), self.pictures.get(PICTURES, ())
        if found is None or found[1] == "":
            check_all_used(beside)
            return ()
        before = len(self.ignored)
        controls = read_controls(found[1], found[2], beside, self._rules.limits, self.ignored)
        self._refuse_unknown(before)
        return controls

    def _refuse_unknown(self, before: int) -> None:
        """Where the server is strict, keys of entries that came to the ignored since there were `before` of them."""
        if self._rules.strict and len(self.ignored) > before:
            raise _unknown(self.ignored[before])

    def _padding(self) -> Padding:
        found = self._find("padding")
        return NO_PADDING if not found or found[1] == "" else read_padding(found[1], found[2])

    def _pictures(self, row: Field) -> tuple[Upload, ...]:
        if files := self._files.get(row.name):
            return files
        found, max_bytes = self._find(row.name), self._rules.limits.max_image_bytes
        if not found or found[1] == "":
            return ()
        if row.kind is Kind.PICTURE:
            return (read_picture(found[1], found[2], max_bytes),)
        return read_pictures(found[1], found[2], max_bytes)


def _unsupported(param: str, reason: str) -> InvalidRequest:
    return InvalidRequest(reason, param=param, code="unsupported_parameter")


def _unknown(key: str) -> InvalidRequest:
    word = key[:100].encode("utf-8", "backslashreplace").decode("utf-8")
    return InvalidRequest(f"Unknown parameter: '{word}'.", param=word, code="unknown_parameter")
