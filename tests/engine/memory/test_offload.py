"""Weights in host memory: the results are the same, whatever is written, called next, or fails."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sdxl_gateway.engine.memory import offload
from sdxl_gateway.engine.memory.offload import HostMemory, Part, WeightStream, keep_in_host_memory

CPU = torch.device("cpu")


class Tower(nn.Module):
    """Layers of several sizes in a list, one with a buffer, between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 16)
        self.layers = nn.ModuleList([nn.Linear(16, 16), nn.BatchNorm1d(16), nn.Linear(16, 16, bias=False)])
        self.last = nn.Linear(16, 2)
        self.gain = nn.Parameter(torch.full((1,), 2.0))
        self.breaks = False
        self.requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x)
            if self.breaks:
                raise RuntimeError("broken off")
        found: Tensor = self.last(x) * self.gain
        return found


class Watched(WeightStream):
    """Records which parts were copied to the device."""

    def __init__(self) -> None:
        super().__init__(CPU)
        self.sent: list[Part] = []

    def _copy(self, part: Part) -> None:
        self.sent.append(part)
        super()._copy(part)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def towers() -> tuple[Tower, Tower, Watched]:
    """A tower, the same one with its weights in host memory, and its stream."""
    torch.manual_seed(0)
    plain, kept, stream = Tower(), Tower(), Watched()
    kept.load_state_dict(plain.state_dict())
    keep_in_host_memory(kept, stream, HostMemory(CPU))
    return plain, kept, stream


def test_the_same_numbers_come_out(towers: tuple[Tower, Tower, Watched], x: Tensor) -> None:
    plain, kept, _ = towers
    for _ in range(3):
        assert torch.equal(kept(x), plain(x))
        with torch.inference_mode():
            assert torch.equal(kept(x), plain(x))


def test_each_part_is_copied_once_a_call_and_the_next_one_ahead(
    towers: tuple[Tower, Tower, Watched], x: Tensor
) -> None:
    _, kept, stream = towers
    order = []
    for _ in range(3):
        stream.sent.clear()
        kept(x)
        order.append(list(stream.sent))
    assert [len(set(map(id, sent))) for sent in order] == [len(sent) for sent in order] == [5, 5, 5]
    assert order[1] == order[2] == order[0]


def test_a_part_is_on_its_way_while_the_one_before_computes(towers: tuple[Tower, Tower, Watched], x: Tensor) -> None:
    _, kept, stream = towers
    sent_by_then: list[int] = []
    kept.first.register_forward_pre_hook(lambda *_: sent_by_then.append(len(stream.sent)))
    kept.layers[0].register_forward_pre_hook(lambda *_: sent_by_then.append(len(stream.sent)))
    kept(x)
    stream.sent.clear()
    sent_by_then.clear()
    kept(x)
    assert sent_by_then == [0, 2]


def test_weights_written_between_calls_are_those_of_the_next_call(
    towers: tuple[Tower, Tower, Watched], x: Tensor
) -> None:
    plain, kept, _ = towers
    homes = {name: parameter.detach() for name, parameter in kept.named_parameters()}
    kept(x)
    for factor in (0.5, -1.0, 3.0):
        for name, parameter in plain.named_parameters():
            parameter.mul_(factor)
            homes[name].mul_(factor)
        assert torch.equal(kept(x), plain(x))


def test_two_models_share_the_buffers(towers: tuple[Tower, Tower, Watched], x: Tensor) -> None:
    plain, kept, stream = towers
    other, reference = Tower(), Tower()
    reference.load_state_dict(other.state_dict())
    keep_in_host_memory(other, stream, HostMemory(CPU))
    for _ in range(3):
        assert torch.equal(kept(x), plain(x))
        assert torch.equal(other(x), reference(x))


def test_a_call_that_breaks_off_harms_no_other(towers: tuple[Tower, Tower, Watched], x: Tensor) -> None:
    plain, kept, _ = towers
    wanted = plain(x)
    kept(x)
    kept.breaks = True
    with pytest.raises(RuntimeError):
        kept(x)
    kept.breaks = False
    kept.first.weight.mul_(2)
    kept.first.weight.div_(2)
    assert torch.equal(kept(x), wanted)


def test_a_module_brought_into_another_format_computes_in_it_and_back(
    towers: tuple[Tower, Tower, Watched], x: Tensor
) -> None:
    plain, kept, _ = towers
    wanted = kept(x)
    kept.to(torch.float64)
    assert torch.equal(kept(x.double()), plain.to(torch.float64)(x.double()))
    kept.to(torch.float32)
    assert torch.equal(kept(x), wanted)


def test_large_modules_are_taken_apart(monkeypatch: pytest.MonkeyPatch, x: Tensor) -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4))
    monkeypatch.setattr(offload, "PART_BYTES", 100)
    stream = Watched()
    wanted = model(x)
    keep_in_host_memory(model, stream, HostMemory(CPU))
    assert torch.equal(model(x), wanted)
    assert [len(part.tensors) for part in stream.sent] == [2, 2, 2]


def test_memory_formats_stay(x: Tensor) -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    keep_in_host_memory(model, WeightStream(CPU), HostMemory(CPU))
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
