"""What a switch asks of a device, counted on SDXL's real UNet without values: launches, bytes, waits of the host."""

from __future__ import annotations

import pytest
import torch

from benchmarks.blends import Blender, Factors, random_unet
from tests.kit.launches import Launches
from tools.full_size_model import UNET

META = torch.device("meta")
FLOOR_BYTES = 4 * 2_207_744_000
"""Reading the pristine weights of the 722 linears and writing the blend's, two bytes each."""
FACTORS = Factors(META)


@pytest.fixture(scope="module")
def stacks() -> Blender:
    """Where no kernel of ours runs; a blend was on, so that pristine copies are there."""
    made = Blender(random_unet(UNET, META, torch.float16), META, stacked=True)
    made.put_on([made.give("first", FACTORS.lora(4), made.layers(convolutions=True))])
    return made


def counted(blender: Blender, digests: list[str]) -> Launches:
    blender.put_on()
    with Launches() as found:
        blender.put_on(digests)
    return found


def test_the_model(stacks: Blender) -> None:
    shapes = stacks.layers().values()
    assert len(shapes) == 722
    assert 4 * sum(rows * columns for rows, columns in shapes) == FLOOR_BYTES


@pytest.mark.parametrize(("loras", "launches", "floors"), [(1, 185, 3.3), (3, 405, 3.6)])
def test_stacks(stacks: Blender, loras: int, launches: int, floors: float) -> None:
    """Pristine weights copied together, multiplied in place, copied out: three times the floor, and no wait."""
    digests = [stacks.give(f"stacks {loras} {i}", FACTORS.lora(64)) for i in range(loras)]
    found = counted(stacks, digests)
    assert (found.launches, found.waits) == (launches, 0)
    assert found.bytes < floors * FLOOR_BYTES
