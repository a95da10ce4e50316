"""A compiled UNet: the same pictures, whatever blend is applied, and no compilation while requests are served."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch._dynamo.utils import counters

from sdxl_gateway.config import Checkpoint, Memory
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.picture import NO_INPUTS, Inputs, Picture
from sdxl_gateway.core.recipe import NO_BLEND, Recipe, Task
from sdxl_gateway.engine import compile as compiling
from sdxl_gateway.engine import load
from sdxl_gateway.engine.compile import BUCKET_ORDER, Denoisers, Todo
from sdxl_gateway.engine.load import open_engine, plain_parts
from sdxl_gateway.engine.unet.calls import in_buckets
from sdxl_gateway.engine.unet.compiled import make_of
from sdxl_gateway.engine.unet.target import traceable
from tests.kit.compilers import Compiler
from tests.kit.engine import Studio, difference, mask, photo, process_settings, recipe, studio
from tests.kit.engine_loras import admitted, blend, write_lora
from tests.kit.ip_adapters import SIDE, image_prompt, referenced, section
from tests.kit.model_folders import distilled_demo, shallow_demo

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SIZE = "64x64"
TWO: dict[str, tuple[str, ...]] = {"quick": (SIZE,), "slow": ()}
ROOM_BYTES = 6 * 2**20
"""Enough for adapters, but not for another checkpoint."""


@pytest.fixture(scope="module")
def compiler() -> Compiler:
    return Compiler()


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shallow_demo(tmp_path_factory.mktemp("model") / "shallow")


@pytest.fixture(scope="module")
def demo(shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """An engine without compiled code, for comparison."""
    made = studio(tmp_path_factory.mktemp("plain"), shallow)
    yield made
    made.engine.close()


@pytest.fixture(scope="module")
def fast(compiler: Compiler, shallow: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """An engine that compiles for one size, with a compiler that counts, and room for one of two checkpoints."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "Denoisers", partial(Denoisers, backend=compiler))
        data = tmp_path_factory.mktemp("fast")
        config = process_settings(
            data, dict.fromkeys(("demo", "other"), Checkpoint(path=str(shallow))), compiled_sizes=(SIZE,)
        )
        config = config.model_copy(update={"memory": Memory(vram_budget_bytes=ROOM_BYTES)})
        made = Studio(open_engine(config, lambda _: None), shallow, data)
    yield made
    made.engine.close()


def together(one: Studio, wanted: Recipe, inputs: Inputs = NO_INPUTS) -> list[Picture]:
    """All images of a recipe, sharing each step."""
    canvases = [one.engine.begin(wanted, index, inputs) for index in range(wanted.count)]
    while canvases[0].steps_done < canvases[0].steps_total:
        one.engine.step(canvases)
    return one.finish(canvases)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_any_number_of_rows_is_painted_by_compiled_code(
    fast: Studio, demo: Studio, compiler: Compiler, guidance_scale: float, count: int
) -> None:
    wanted = recipe(guidance_scale=guidance_scale, count=count)
    calls = compiler.calls
    ours, theirs = together(fast, wanted), together(demo, wanted)
    assert compiler.calls == calls + wanted.steps * len(in_buckets(count * wanted.unet_rows))
    assert compiler.graphs == len(BUCKET_ORDER)
    assert max(map(difference, ours, theirs)) <= 1


@pytest.mark.parametrize("task", [Task.IMAGE_TO_IMAGE, Task.INPAINT])
def test_pictures_made_from_pictures_are_painted_by_it_too(
    fast: Studio, demo: Studio, compiler: Compiler, task: Task
) -> None:
    wanted = recipe(task=task, strength=0.7)
    inputs = Inputs({"image": photo()} | ({"mask": mask()} if task is Task.INPAINT else {}))
    calls = compiler.calls
    assert difference(fast.paint(wanted, inputs), demo.paint(wanted, inputs)) <= 1
    assert compiler.calls == calls + wanted.denoise_steps


def test_blends_come_and_go_without_a_compilation(
    fast: Studio, demo: Studio, compiler: Compiler, tmp_path: Path
) -> None:
    files = [write_lora(tmp_path / f"{seed}.safetensors", fast.folder, seed) for seed in (1, 2)]
    for path in files:
        admitted(path, demo.data_directory)
    one, two = (admitted(path, fast.data_directory) for path in files)
    before = fast.paint(recipe())
    calls = compiler.calls
    blends = [blend((one, 0.8)), blend((one, 0.5), (two, -0.4)), NO_BLEND, blend((two, 1.0))]
    for on in blends:
        painted = fast.paint(recipe(blend=on))
        assert difference(painted, demo.paint(recipe(blend=on))) <= 1
        assert (difference(painted, before) > 2) is (on is not NO_BLEND)
    assert compiler.calls == calls + len(blends) * recipe().steps
    assert compiler.graphs == len(BUCKET_ORDER)
    assert fast.paint(recipe()).pixels == before.pixels


def test_pictures_with_references_take_the_unet_as_it_is(
    demo: Studio, shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler()
    monkeypatch.setattr(load, "Denoisers", partial(Denoisers, backend=compiler))
    monkeypatch.setattr(compiling, "BUCKET_ORDER", (2,))
    files = section(tmp_path / "ip", plus=True)
    quick, slow = (
        studio(tmp_path / name, shallow, ip_adapter=files, compiled_sizes=sizes, max_lanes=1)
        for name, sizes in TWO.items()
    )
    graphs, calls = compiler.graphs, compiler.calls
    guided = recipe(image_prompt=image_prompt(quick, 0.6), count=2)
    given = referenced(photo(SIDE, SIDE))
    before = quick.paint(recipe())
    assert compiler.calls == calls + recipe().steps
    assert max(map(difference, together(quick, guided, given), together(slow, guided, given))) <= 1
    assert compiler.calls == calls + recipe().steps
    assert quick.paint(recipe()) == before
    assert difference(before, demo.paint(recipe())) <= 1
    assert (compiler.calls, compiler.graphs) == (calls + 2 * recipe().steps, graphs)
    quick.engine.close()
    slow.engine.close()


def test_what_was_not_compiled_for_is_painted_without(fast: Studio, demo: Studio, compiler: Compiler) -> None:
    wanted = recipe(width=96, height=64)
    calls = compiler.calls
    assert fast.paint(wanted).pixels == demo.paint(wanted).pixels
    assert (compiler.calls, compiler.graphs) == (calls, len(BUCKET_ORDER))


def test_a_checkpoint_that_leaves_comes_back_compiled(fast: Studio, demo: Studio, compiler: Compiler) -> None:
    plain, calls = demo.paint(recipe()), compiler.calls
    loaded = fast.loaded()
    names = ["other", "demo"]
    for name in names:
        wanted = recipe(checkpoint=name)
        fast.engine.prefetch(wanted).result(timeout=60)
        assert difference(fast.paint(wanted), plain) <= 1
        fast.engine.release(wanted)
    assert fast.loaded().checkpoint.unet is not loaded.checkpoint.unet
    assert compiler.calls == calls + len(names) * recipe().steps
    assert compiler.graphs == len(BUCKET_ORDER)


def test_a_checkpoint_of_another_make_is_painted_without(
    fast: Studio, demo: Studio, compiler: Compiler, tmp_path: Path
) -> None:
    made = studio(tmp_path, distilled_demo(tmp_path / "distilled"))
    wanted = recipe(sampler="lcm", embeds_guidance=True)
    expected, calls = made.paint(wanted), compiler.calls
    ours: Any = fast.engine._pool.loaders["checkpoint"]
    theirs: Any = made.engine._pool.loaders["checkpoint"]
    made.engine._pool.keep("checkpoint", "demo", replace(theirs, denoisers=ours.denoisers).load("demo"), 0)
    assert made.paint(wanted) == expected
    assert (compiler.calls, compiler.graphs) == (calls, len(BUCKET_ORDER))
    made.engine.close()


def test_without_a_compiler_the_engine_does_not_open(
    shallow: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found in /secret/place")

    monkeypatch.setattr(load, "Denoisers", partial(Denoisers, backend=no_compiler))
    with pytest.raises(CheckpointProblem, match="2 rows of 64x64, could not be compiled") as caught:
        studio(tmp_path, shallow, compiled_sizes=(SIZE,))
    assert "secret" not in str(caught.value)


def beside(demo: Studio, compiler: Any) -> Denoisers:
    """The Denoisers of an engine that compiles beside its steps."""
    checkpoint = demo.loaded().checkpoint
    parts = plain_parts(demo.engine._pool.ledger)
    return Denoisers(Todo.of(checkpoint, parts, (SIZE,), lanes=1), None, compiler)


def test_code_is_taken_up_between_two_steps(demo: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "PAUSE_SECONDS", 0.0)
    compiler = Compiler()
    denoisers = beside(demo, compiler)
    canvas = demo.engine.begin(recipe(), 0, NO_INPUTS)
    canvas.checkpoint = denoisers.attach(canvas.checkpoint)
    demo.engine.step([canvas])
    assert compiler.graphs == 0
    denoisers.compile_beside().join(timeout=120)
    assert (compiler.graphs, compiler.calls) == (2, 2)
    while canvas.steps_done < canvas.steps_total:
        demo.engine.step([canvas])
    assert (compiler.graphs, compiler.calls) == (2, 2 + recipe().steps - 1)
    assert difference(demo.engine.finish(canvas).result(), demo.paint(recipe())) <= 1


def test_a_compiler_that_fails_beside_the_steps_stops_nothing(demo: Studio, caplog: pytest.LogCaptureFixture) -> None:
    def no_compiler(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found")

    denoisers = beside(demo, no_compiler)
    denoisers.compile_beside().join(timeout=120)
    assert [record.levelname for record in caplog.records if record.name == compiling.__name__] == ["WARNING"]
    canvas = demo.engine.begin(recipe(), 0, NO_INPUTS)
    canvas.checkpoint = denoisers.attach(canvas.checkpoint)
    while canvas.steps_done < canvas.steps_total:
        demo.engine.step([canvas])
    assert demo.engine.finish(canvas).result() == demo.paint(recipe())


def test_nothing_more_is_compiled_with_a_checkpoint_that_leaves(demo: Studio) -> None:
    compiler = Compiler()
    denoisers = beside(demo, compiler)
    denoisers.detach(demo.loaded().checkpoint)
    denoisers.compile_beside().join(timeout=120)
    assert compiler.graphs == 0


def test_a_trace_has_modules_of_its_own_on_the_same_memory(demo: Studio) -> None:
    unet = demo.loaded().checkpoint.unet
    ours: Any = traceable(unet)
    mine, theirs = dict(ours.named_modules()), dict(unet.named_modules())
    assert mine.keys() == theirs.keys()
    assert not any(mine[name] is theirs[name] for name in mine)
    assert not any(a is b for a, b in zip(ours.attn_processors.values(), unet.attn_processors.values(), strict=True))
    pairs = list(zip(ours.parameters(), unet.parameters(), strict=True))
    assert all(a is not b and a.data_ptr() == b.data_ptr() for a, b in pairs)
    assert make_of(ours) == make_of(unet)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torch_itself_compiles_it(demo: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    counters.clear()
    made = studio(tmp_path, demo.folder, compiled_sizes=(SIZE,))
    assert not any(counters[kind].total() for kind in ("stats", "aot_autograd"))
    assert len(list((tmp_path / "compiled" / "whole" / "inductor").glob("*.code"))) == len(BUCKET_ORDER)
    path = write_lora(tmp_path / "1.safetensors", made.folder, 1)
    on = blend((admitted(path, made.data_directory), 0.8))
    admitted(path, demo.data_directory)
    for wanted in (recipe(), recipe(blend=on, count=3), recipe(count=2, guidance_scale=1.0)):
        assert max(map(difference, together(made, wanted), together(demo, wanted))) <= 1
    made.engine.close()
