"""What a switch asks of a device, counted on SDXL's real UNet without values: launches, bytes, waits of the host."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType

import pytest
import torch
from torch import nn

from benchmarks.blends import Blender, Factors, Make, random_unet, table_bytes
from sdxl_gateway.engine.lora.table import UNALIGNED, MergeTable
from tests.kit.launches import Launches
from tools.full_size_model import UNET

META = torch.device("meta")
FLOOR_BYTES = 4 * 2_207_744_000
"""The bytes of reading the original weights of the 722 linear layers and writing the blend's, two bytes each."""
FACTORS = Factors(META)


@pytest.fixture(scope="module")
def unet() -> nn.Module:
    return random_unet(UNET, META, torch.float16)


@pytest.fixture(scope="module")
def stacks(unet: nn.Module) -> Blender:
    """A switcher without kernels of ours, after a first blend, so that copies of the original weights exist."""
    made = Blender(unet, META, stacked=True)
    made.put_on([made.give("first", FACTORS.lora(4), made.layers(convolutions=True))])
    return made


def counted(blender: Blender, digests: list[str]) -> Launches:
    blender.put_on()
    found = Launches()
    with found:
        blender.put_on(digests)
    return found


def test_the_model(stacks: Blender) -> None:
    shapes = stacks.layers().values()
    assert len(shapes) == 722
    assert 4 * sum(rows * columns for rows, columns in shapes) == FLOOR_BYTES


@pytest.mark.parametrize(("loras", "launches", "floors"), [(1, 185, 3.3), (3, 407, 3.6)])
def test_stacks(stacks: Blender, loras: int, launches: int, floors: float) -> None:
    """Original weights copied together, multiplied in place, copied out: three times the floor, and no wait."""
    digests = [stacks.give(f"stacks {loras} {i}", FACTORS.lora(64)) for i in range(loras)]
    found = counted(stacks, digests)
    assert (found.launches, found.waits) == (launches, 0)
    assert found.bytes < floors * FLOOR_BYTES


class CountingKernel:
    """Sends its table to the device like the real one, but launches nothing, since meta tensors have no addresses."""

    def __init__(self) -> None:
        self.tables: list[MergeTable] = []

    def __call__(self, merge: MergeTable, device: torch.device) -> None:
        merge.words.to(device, non_blocking=True)
        self.tables.append(merge)


@pytest.fixture(scope="module")
def kernel() -> CountingKernel:
    return CountingKernel()


@pytest.fixture(scope="module")
def fused(unet: nn.Module, kernel: CountingKernel) -> Blender:
    """A switcher with kernels of ours, after a first blend, so that copies of the original weights exist."""
    made = Blender(unet, META, kernel=kernel)
    made.put_on([made.give("first", FACTORS.lora(4), made.layers(convolutions=True))])
    return made


KINDS: dict[str, tuple[Make, int, float]] = {
    "LoRA of rank 16": (FACTORS.lora(16), 1, 1.01),
    "LoRA of rank 64": (FACTORS.lora(64), 1, 1.04),
    "three LoRAs of rank 64": (FACTORS.lora(64), 3, 1.12),
    "DoRA": (FACTORS.dora(16), 1, 1.01),
    "LoHa": (FACTORS.loha(16), 1, 1.02),
    "LoKr": (FACTORS.lokr(), 1, 1.01),
}


@pytest.mark.parametrize("name", KINDS)
def test_kernels(fused: Blender, kernel: CountingKernel, name: str) -> None:
    """One copy of the table without a wait, one launch, and no bytes beyond the floor except for the factors."""
    make, count, floors = KINDS[name]
    digests = [fused.give(f"{name} {i}", make) for i in range(count)]
    fused.put_on(digests)
    kernel.tables.clear()
    found = counted(fused, digests)
    (merge,) = kernel.tables
    assert (found.launches, found.uploads, found.waits) == (1, 1, 0)
    # Without values a gain's address may be 0, which means none: one layer is then treated as a plain one.
    assert len(merge.launches) == (2 if name == "DoRA" else 1)
    assert table_bytes(merge) < floors * FLOOR_BYTES
    assert merge.words.nbytes < 1.1e6


def test_a_dora_is_read_into_gains_in_stacks(fused: Blender) -> None:
    """Once for each adapter; computing each layer's norm separately took 7,222 launches."""
    fused.put_on()
    found = counted(fused, [fused.give("a new DoRA", FACTORS.dora(16))])
    assert found.launches < 525
    assert found.bytes < 8 * FLOOR_BYTES
    assert found.waits == 0


def test_convolutions_go_along(fused: Blender, kernel: CountingKernel) -> None:
    """They are channels-last in memory and contiguous in the file, and take a launch of their own."""
    digest = fused.give("with convolutions", FACTORS.lora(16), fused.layers(convolutions=True))
    kernel.tables.clear()
    found = counted(fused, [digest])
    assert (found.launches, found.waits) == (1, 0)
    assert sorted(launch.group for launch in kernel.tables[0].launches) == [0, UNALIGNED]


def test_a_warm_switch_makes_no_table_and_asks_each_layer_but_one_thing(fused: Blender, kernel: CountingKernel) -> None:
    """The one thing is the address of its original copy, which may differ each time; everything else is cached."""
    first, second = (fused.give(f"warm {i}", FACTORS.lora(64)) for i in range(2))
    for digest in (first, second, first):
        fused.put_on([digest])
    kernel.tables.clear()
    calls = entered(lambda: fused.put_on([second]))
    assert calls.pop("untouched") == len(fused.layers())
    assert calls.total() < 200
    fused.put_on([first])
    fused.put_on([second])
    assert kernel.tables[0] is kernel.tables[2]


def test_taking_a_blend_off_asks_each_layer_little(fused: Blender) -> None:
    """Making a view of each layer would take longer than everything else."""
    fused.put_on([fused.give("to be taken off", FACTORS.lora(64))])
    launches = Launches()
    with launches:
        calls = entered(fused.put_on)
    assert (launches.launches, launches.waits) == (1, 0)
    assert calls.pop("untouched") == calls.pop("as_stored") == len(fused.layers())


def entered(work: Callable[[], object]) -> Counter[str]:
    """How often each Python function was called."""
    found: Counter[str] = Counter()

    def count(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            found[frame.f_code.co_name] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found
