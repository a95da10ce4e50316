"""Code compiled by another process: the same values, and nothing traced or compiled by the process that uses it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch._dynamo.utils import counters

from sdxl_gateway.engine.memory.quantised import quantise
from sdxl_gateway.engine.models.text_layers import TextLayers
from sdxl_gateway.engine.unet import compiler_process
from sdxl_gateway.engine.unet.calls import Call
from sdxl_gateway.engine.unet.code_cache import CodeCache, cache_key
from sdxl_gateway.engine.unet.compiled import compile_ahead, make_of
from sdxl_gateway.engine.unet.compiler_process import CompilerProcess
from sdxl_gateway.engine.unet.target import CompileTarget, pickled, traceable, unpickled

CPU = torch.device("cpu")
TEXT = 16
KINDS = ("stats", "frames", "aot_autograd", "inductor")
"""torch's counters of tracing and compiling."""


def tiny_unet(**changes: Any) -> UNet2DConditionModel:
    """With SDXL's kinds of blocks, conditions and processors, and hardly any weights."""
    torch.manual_seed(1)
    settings = {
        "sample_size": 8,
        "block_out_channels": (8, 8),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": TEXT,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + TEXT,
    }
    unet = UNet2DConditionModel(**settings | changes)
    return unet.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def a_call(rows: int = 2, text_width: int = TEXT) -> Call:
    more = {"text_embeds": torch.randn(rows, TEXT), "time_ids": torch.ones(rows, 6)}
    others = {"encoder_hidden_states": torch.randn(rows, 7, text_width), "added_cond_kwargs": more}
    found = Call.of(torch.randn(rows, 4, 8, 8), torch.full((rows,), 5.0), {**others, "return_dict": False})
    assert found is not None
    return found


def target_of(unet: nn.Module, call: Call) -> CompileTarget:
    return CompileTarget.of_unet(traceable(unet), call)


def predicted(target: CompileTarget, code: Callable[..., Any]) -> Tensor:
    found: Tensor = target.run(code)[0]
    return found


@torch.inference_mode()
def in_this_process(target: CompileTarget, path: Path) -> bool:
    """The work of a compiler's process, with a compiler that changes nothing."""
    path.parent.mkdir(exist_ok=True)
    compile_ahead(unpickled(pickled(target)), "eager", path)
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compiled") / "whole"


def never(target: CompileTarget, path: Path) -> bool:
    raise AssertionError("it was made before")


@torch.inference_mode()
def test_what_was_made_is_loaded_and_nothing_is_traced(folder: Path) -> None:
    unet = tiny_unet()
    target = target_of(unet, a_call())
    CodeCache(folder, in_this_process).code(target)
    counters.clear()
    code = CodeCache(folder, never).code(target_of(tiny_unet(), a_call()))
    assert code is not None
    assert torch.equal(predicted(target, code), predicted(target, itself(unet)))
    unet.conv_out.weight.mul_(2.0)
    assert torch.equal(predicted(target, code), predicted(target, itself(unet)))
    assert not any(counters[kind].total() for kind in KINDS)


def itself(unet: nn.Module) -> Callable[..., Any]:
    return lambda _, *inputs, **others: unet(*inputs, **others)


@torch.inference_mode()
def test_what_is_of_no_use_is_made_anew(folder: Path) -> None:
    target = target_of(tiny_unet(), a_call())
    path = folder / f"{cache_key(target)}.code"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"something else")
    assert CodeCache(folder, in_this_process).code(target) is not None
    assert CodeCache(folder, never).code(target) is not None


def test_what_nobody_can_make_is_none(tmp_path: Path) -> None:
    assert CodeCache(tmp_path / "whole", lambda *_: False).code(target_of(tiny_unet(), a_call())) is None


def with_texts_ready_made() -> CompileTarget:
    unet = tiny_unet()
    return target_of(unet, a_call(text_width=TextLayers.of(unet).width))


def in_one_byte() -> CompileTarget:
    unet = tiny_unet()
    quantise(unet, "int8", CPU, CPU, torch.float32)
    return target_of(unet, a_call())


OTHERS: dict[str, Callable[[], CompileTarget]] = {
    "as it is": lambda: target_of(tiny_unet(), a_call()),
    "more rows": lambda: target_of(tiny_unet(), a_call(rows=4)),
    "texts ready made": with_texts_ready_made,
    "one-byte weights": in_one_byte,
    "half precision": lambda: target_of(tiny_unet().half(), a_call()),
    "another activation": lambda: target_of(tiny_unet(act_fn="gelu"), a_call()),
}


def test_a_name_says_all_that_code_depends_on() -> None:
    names = {kind: cache_key(made()) for kind, made in OTHERS.items()}
    assert names == {kind: cache_key(made()) for kind, made in OTHERS.items()}
    assert len(set(names.values())) == len(OTHERS)


def test_a_number_of_threads_is_part_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    target = target_of(tiny_unet(), a_call())
    before = cache_key(target)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert cache_key(target) != before


@pytest.mark.parametrize("kind", OTHERS)
def test_a_pickled_target_is_of_the_same_make_and_takes_no_memory(kind: str) -> None:
    target = OTHERS[kind]()
    found = unpickled(pickled(target))
    assert make_of(found.model) == make_of(target.model)
    assert cache_key(found) == cache_key(target)
    tensors = [*found.model.parameters(), *found.model.buffers(), *found.inputs]
    assert not any(tensor.untyped_storage().nbytes() for tensor in tensors)


def test_a_tensor_in_two_places_is_one_when_pickled() -> None:
    model = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    model[1].weight = model[0].weight
    found = unpickled(pickled(CompileTarget(len, model, (torch.zeros(1),), {}))).model
    first, second = found.parameters(recurse=True), found[1].parameters()  # type: ignore[index]
    assert next(first) is next(second)


def process(script: str) -> CompilerProcess:
    return CompilerProcess("eager", (sys.executable, "-c", script))


def test_a_process_that_fails_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    target = target_of(tiny_unet(), a_call())
    assert not process("import sys; sys.stdin.buffer.read(); sys.exit('no compiler')").make(target, tmp_path / "one")
    assert "no compiler" in caplog.text


def test_it_ends_with_all_it_started_when_it_is_closed(tmp_path: Path) -> None:
    """The process and its child wait for ever, and report when they start."""
    told = tmp_path / "told"
    os.mkfifo(told)
    script = f"import os, time; os.fork(); open({str(told)!r}, 'w').write('x'); time.sleep(600)"
    compiler, ended = process(script), Event()
    target = target_of(tiny_unet(), a_call())

    def make() -> None:
        assert not compiler.make(target, tmp_path / "one")
        ended.set()

    thread = Thread(target=make, daemon=True)
    thread.start()
    both = os.open(told, os.O_RDWR)  # one end of its own stays open, so that there is no end of file between the two
    assert os.read(both, 1) + os.read(both, 1) == b"xx"
    os.close(both)
    compiler.close()
    assert ended.wait(60.0)
    assert not compiler.make(target, tmp_path / "one")
    thread.join()


def test_none_is_begun_on_a_device_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler_process, "_has_room", lambda _: False)
    assert not process("import sys; sys.stdin.buffer.read()").make(target_of(tiny_unet(), a_call()), tmp_path / "one")


@pytest.mark.parametrize(("free_bytes", "room"), [(2**30, True), (2**30 - 1, False)])
def test_room_on_a_card(free_bytes: int, room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free_bytes, 2**40))
    assert compiler_process._has_room(torch.device("cuda", 0)) is room


@pytest.mark.full
@torch.inference_mode()
def test_another_process_makes_it(folder: Path) -> None:
    target = target_of(tiny_unet(), a_call())
    counters.clear()
    code = CodeCache(folder / "other", CompilerProcess("inductor").make).code(target)
    assert code is not None
    assert torch.allclose(predicted(target, code), predicted(target, itself(target.model)), atol=1e-5)
    assert not any(counters[kind].total() for kind in KINDS[:3])
