"""A checkpoint comes back from host memory with exactly its files' weights, whatever was applied to it before."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sdxl_gateway import config
from sdxl_gateway.engine.load import _source
from sdxl_gateway.engine.memory.host_buffer import HostBuffer
from sdxl_gateway.engine.memory.ledger import HOST, Ledger
from sdxl_gateway.engine.models.checkpoint import Checkpoint, load_checkpoint
from sdxl_gateway.engine.models.host_copies import CopyKey, HostCopies
from sdxl_gateway.engine.models.loaders import CHECKPOINT
from sdxl_gateway.engine.models.placement import Placement

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
CPU = torch.device("cpu")


ROOM = 2**40


@pytest.fixture
def loaded() -> Checkpoint:
    return load_checkpoint(_source("demo", config.Checkpoint(path="demo")), Placement.everything_on(CPU), torch.float32)


def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    modules = checkpoint.blendable() | {"vae": checkpoint.vae}
    return {
        f"{part}.{name}": tensor
        for part, module in modules.items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }


def test_a_checkpoint_returns_as_it_was_read(loaded: Checkpoint) -> None:
    """Whatever was written to its weights before, in their formats, and sharing no memory with the copy."""
    before = {name: tensor.clone() for name, tensor in weights(loaded).items()}
    strides = {name: tensor.stride() for name, tensor in weights(loaded).items()}
    copies = HostCopies(CHECKPOINT, Ledger({HOST: ROOM}), CPU)
    copies.keep(loaded)
    assert copies.get("demo") is None, "it has not left"
    for _ in range(2):
        for tensor in weights(loaded).values():
            tensor.zero_()
        copies.release(replace(loaded, denoiser=print))
        assert loaded.size_bytes() == 0, "the device is free at once"
        returned = copies.get("demo")
        assert returned is not None
        assert returned.denoiser is returned.unet is loaded.unet
        assert {name: tensor.stride() for name, tensor in weights(returned).items()} == strides
        assert all(torch.equal(tensor, before[name]) for name, tensor in weights(returned).items())


def test_a_checkpoint_that_is_not_kept_leaves_all_the_same(loaded: Checkpoint) -> None:
    copies = HostCopies(CHECKPOINT, Ledger({HOST: ROOM}), CPU)
    copies.release(loaded)
    assert loaded.size_bytes() == 0
    assert copies.get("demo") is None


def test_copies_are_kept_by_the_ledgers_word(loaded: Checkpoint) -> None:
    ledger = Ledger({HOST: loaded.size_bytes()})
    copies = HostCopies(CHECKPOINT, ledger, CPU)
    copies.keep(loaded)
    assert ledger.held_bytes(HOST) == loaded.size_bytes()
    copies.release(loaded)
    assert copies.has("demo")
    ledger.hold(HOST, "a LoRA", 1)
    assert copies.get("demo") is None
    assert ledger.keys(HOST) == ("a LoRA",)


def test_without_room_nothing_is_kept(loaded: Checkpoint) -> None:
    ledger = Ledger({HOST: loaded.size_bytes() - 1})
    copies = HostCopies(CHECKPOINT, ledger, CPU)
    copies.keep(loaded)
    copies.release(loaded)
    assert copies.get("demo") is None
    assert ledger.held_bytes(HOST) == 0


def test_a_copy_that_fails_leaves_nothing_on_the_ledger(loaded: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> torch.Tensor:
        raise MemoryError

    monkeypatch.setattr(HostBuffer, "of", fail)
    ledger = Ledger({HOST: None})
    with pytest.raises(MemoryError):
        HostCopies(CHECKPOINT, ledger, CPU).keep(loaded)
    assert not ledger.holds(HOST, CopyKey(CHECKPOINT, "demo"))
