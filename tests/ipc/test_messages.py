"""What is said at one end is heard at the other, and nothing else is taken for a message."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_gateway.core import errors
from sdxl_gateway.core.errors import GatewayError
from sdxl_gateway.core.events import Failed
from sdxl_gateway.core.picture import CHANNELS, Inputs, Picture
from sdxl_gateway.ipc.codec import Malformed
from sdxl_gateway.ipc.messages import KINDS, Cancel, Hello, Message, Submit, decode, encode

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, GatewayError)]


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    width, height = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    mode = draw(st.sampled_from(list(CHANNELS)))
    size = width * height * CHANNELS[mode]
    return Picture(width, height, mode, draw(st.binary(min_size=size, max_size=size)))


@st.composite
def gateway_errors(draw: st.DrawFn) -> GatewayError:
    kind = draw(st.sampled_from(ERRORS))
    error = kind.__new__(kind)
    given_code, given_param = draw(st.none() | st.text()), draw(st.none() | st.text())
    GatewayError.__init__(error, draw(st.text()), code=given_code, param=given_param)
    error.retry_after_seconds = draw(st.none() | st.floats(0, 1000))
    return error


st.register_type_strategy(Picture, pictures())
st.register_type_strategy(Inputs, st.builds(Inputs, st.dictionaries(st.text(), pictures(), max_size=2)))
st.register_type_strategy(GatewayError, gateway_errors())
st.register_type_strategy(float, st.floats(allow_nan=False))
st.register_type_strategy(str, st.text(st.characters(), max_size=20))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
hellos = st.builds(Hello, st.dictionaries(st.text(), json_values, max_size=4))
messages = st.one_of(hellos, *(st.from_type(kind) for kind in KINDS.values() if kind is not Hello))


def same(a: Any, b: Any) -> bool:
    if isinstance(a, GatewayError):
        told = ("message", "param", "code", "retry_after_seconds")
        return type(a) is type(b) and all(getattr(a, name) == getattr(b, name) for name in told)
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    return bool(a == b and type(a) is type(b))


@settings(max_examples=300, deadline=None)
@given(messages)
def test_every_message_arrives_as_it_was_sent(message: Message) -> None:
    assert same(decode(*encode(message)), message)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_keeps_its_class(kind: type[GatewayError]) -> None:
    error = kind.__new__(kind)
    GatewayError.__init__(error, "why")
    heard = decode(*encode(Failed("1", error)))
    assert isinstance(heard, Failed)
    assert type(heard.error) is kind


def test_an_error_class_of_a_later_version_is_an_engine_fault() -> None:
    text, _ = encode(Failed("1", errors.NotFinite("why")))
    heard = decode(text.replace(b"NotFinite", b"Unheard"))
    assert isinstance(heard, Failed)
    assert type(heard.error) is errors.EngineFault


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "[" * 100_000,
        '{"kind":"Cancel"}',
        '{"kind":"Exit","body":{}}',
        '{"kind":"Cancel","body":{}}',
        '{"kind":"Cancel","body":{"job_id":1}}',
        '{"kind":"Cancel","body":{"job_id":"1","more":1}}',
        '{"kind":["Cancel"],"body":{}}',
        '{"kind":"StepTaken","body":{"seconds":true,"lanes":1,"work":1.0}}',
        '{"kind":"StepTaken","body":{"seconds":1.0,"lanes":1.5,"work":1.0}}',
        '{"kind":"Ready","body":{"device":"a","dtype":"b","checkpoints":"c"}}',
        '{"kind":"MemoryHeld","body":{"bytes_by_tier":[],"warm":{},"blend":[],"device_used_bytes":0}}',
        '{"kind":"MemoryHeld","body":{"bytes_by_tier":{},"warm":{},"blend":[["a"]],"device_used_bytes":0}}',
        '{"kind":"Failed","body":{"job_id":"1","error":{"class":"Busy"}}}',
    ],
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        decode(text.encode())


@pytest.mark.parametrize(("name", "value"), [("pixels", 1), ("pixels", -1), ("mode", "CMYK"), ("width", 3)])
def test_a_picture_that_does_not_add_up_is_refused(name: str, value: object) -> None:
    picture = {"width": 2, "height": 2, "mode": "L", "pixels": 0} | {name: value}
    body = {"job_id": "1", "index": 0, "seed": 0, "picture": picture}
    with pytest.raises(Malformed):
        decode(json.dumps({"kind": "Painted", "body": body}).encode(), [b"1234"])


def test_a_priority_that_does_not_exist_is_refused() -> None:
    from tests.kit.jobs import job

    text, blobs = encode(Submit(job()))
    with pytest.raises(Malformed):
        decode(text.replace(b'"priority":1', b'"priority":9'), blobs)


def test_a_cancel_is_small() -> None:
    assert encode(Cancel("1")) == (b'{"kind":"Cancel","body":{"job_id":"1"}}', ())


def test_pictures_arrive_by_their_roles() -> None:
    from tests.kit.jobs import job

    roles = {"image": Picture(1, 2, "L", b"ab"), "control:0": Picture(1, 1, "RGB", b"rgb")}
    text, blobs = encode(Submit(replace(job(), inputs=Inputs(roles))))
    assert blobs == (b"ab", b"rgb")
    heard = decode(text, blobs)
    assert isinstance(heard, Submit)
    assert heard.job.inputs == Inputs(roles)
    for wrong in (b'"pictures":[]', b'"pictures":{"image":null}', b'"pictures":{"image":{"pixels":0}}'):
        with pytest.raises(Malformed):
            decode(re.sub(rb'"pictures":\{.*?\}\}', wrong, text), blobs)
