"""Takes a device, gives SDXL's UNet there, of its real size or small, adapters of every kind for it, and a switcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.recipe import Blend, BlendPart
from sdxl_gateway.engine.lora import table
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.delta import Delta, Dora, Loha, Lokr, Lora
from sdxl_gateway.engine.lora.formats import Adapter, AdapterFile
from sdxl_gateway.engine.lora.table import Kernel, MergeTable
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from sdxl_gateway.engine.timing import Clock, Timings, clock_of
from tools.full_size_model import UNET

FACTOR = 8
"""How LoKr divides both sides of a layer, as LyCORIS does by default where it can."""
TINY = UNET | {
    "block_out_channels": (32, 32, 64),
    "attention_head_dim": (2, 2, 4),
    "transformer_layers_per_block": (1, 1, 1),
    "cross_attention_dim": 32,
    "projection_class_embeddings_input_dim": 96,
    "addition_time_embed_dim": 8,
    "norm_num_groups": 8,
}

Make = Callable[[int, int], Delta]
"""(rows, columns) of a layer to an adapter's change of it."""


def random_unet(config: Mapping[str, Any], device: torch.device, dtype: torch.dtype) -> nn.Module:
    """In the memory format the engine paints in; on the meta device it has no values."""
    with torch.device("meta"):
        unet: nn.Module = UNet2DConditionModel.from_config(dict(config)).to(dtype).requires_grad_(False)
    unet.to_empty(device=device)
    for parameter in unet.parameters():
        parameter.normal_(std=0.03)
    # torch's stubs know four-dimensional formats of tensors alone.
    return unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@dataclass(frozen=True, slots=True)
class Factors:
    """Random changes of every kind; `size` is that of what is multiplied last."""

    device: torch.device
    dtype: torch.dtype = torch.float16
    size: float = 0.01

    def lora(self, rank: int) -> Make:
        """Of a rank."""
        return lambda rows, columns: self._lora(rows, columns, rank)

    def dora(self, rank: int) -> Make:
        """A LoRA with a magnitude for each row."""
        return lambda rows, columns: Dora(self._lora(rows, columns, rank), self._of(rows, 1).abs(), True)

    def loha(self, rank: int) -> Make:
        """Both halves of a rank."""

        def make(rows: int, columns: int) -> Delta:
            first = self._of(rows, rank), self._of(rank, columns)
            return Loha(*first, self._of(rows, rank), self._of(rank, columns), None, None, 0.5)

        return make

    def lokr(self) -> Make:
        """Both halves whole."""
        return lambda rows, columns: Lokr(
            None, self._of(FACTOR, FACTOR), None, self._of(rows // FACTOR, columns // FACTOR), None, 1.0
        )

    def _lora(self, rows: int, columns: int, rank: int) -> Lora:
        return Lora(self._of(rows, rank), self._of(rank, columns), None, 1.0)

    def _of(self, *shape: int) -> Tensor:
        return torch.randn(shape, device=self.device).mul_(self.size**0.5).to(self.dtype)


class GivenAdapters(AdapterCache):
    """Adapters that are where they are wanted, from the start and for ever."""

    def __init__(self, ledger: Ledger, device: torch.device) -> None:
        super().__init__(_none, ledger, device, lambda _: None)
        self.given: dict[str, Adapter] = {}

    def use(self, digest: str) -> Adapter:
        """The one given under this digest."""
        return self.given[digest]


def _none(digest: str) -> AdapterFile:
    raise AdapterRefused(digest)


def table_bytes(merge: MergeTable) -> int:
    """What the kernels have to read and write for a table: every weight, every factor and every gain once."""
    words = merge.words.numpy()
    layers = words[: merge.shares_at].reshape(-1, table.LAYER_FIELDS)
    shares = words[merge.shares_at : merge.items_at].reshape(-1, table.SHARE_FIELDS)
    weights = 2 * merge.dtype.itemsize * int((layers[:, table.ROWS] * layers[:, table.COLUMNS]).sum())
    sizes = np.array([dtype.itemsize for dtype in table.DTYPES])[shares[:, table.DTYPE]]
    return weights + sum(int((sizes * _numbers(shares, half)).sum()) for half in range(2))


def _numbers(shares: table.Words, half: int) -> table.Words:
    """How many numbers that half of each share has; gains are few beside them."""
    start = table.HALVES + half * table.HALF_FIELDS
    rank, width, rows = (shares[:, start + field] for field in (table.RANK, table.WIDTH, table.ROW_MODULUS))
    numbers = np.where(rank > 0, rank * (rows + width), rows * width)
    return np.where(shares[:, table.HALF_COUNT] > half, numbers, 0)


@dataclass
class Blender:
    """A UNet and what puts blends on it; `told` is what it measured, by the device's clock or another."""

    unet: nn.Module
    device: torch.device
    stacked: bool | None = None
    kernel: Kernel | None = None
    clock: Clock | None = None
    told: list[Measurement] = field(default_factory=list)

    def __post_init__(self) -> None:
        ledger = Ledger({VRAM: None, HOST: None, PRISTINE_VRAM: None, PRISTINE_HOST: None})
        self.adapters = GivenAdapters(ledger, self.device)
        timings = Timings(self.told.append, self.clock or clock_of(self.device))
        self.switcher = BlendSwitcher(
            {"unet": self.unet},
            self.adapters,
            ledger,
            timings,
            stacked=self.stacked,
            kernel=self.kernel,
        )

    def layers(self, *, convolutions: bool = False) -> dict[str, tuple[int, int]]:
        """The linears of the attentions, 722 at SDXL's size, and on request the convolutions, by name."""
        named = {name: p for name, p in self.unet.named_parameters() if name.endswith(".weight")}
        wanted = {
            n: p for n, p in named.items() if (p.dim() == 2 and "attentions" in n) or (convolutions and p.dim() == 4)
        }
        return {f"unet.{name}": (p.shape[0], p.numel() // p.shape[0]) for name, p in wanted.items()}

    def give(self, digest: str, make: Make, layers: Mapping[str, tuple[int, int]] | None = None) -> str:
        """An adapter for all `layers`, or for the linears; gives its digest."""
        deltas = {name: make(*shape) for name, shape in (layers or self.layers()).items()}
        self.adapters.given[digest] = Adapter(digest, deltas, torch.empty(0, device=self.device), {})
        return digest

    def put_on(self, digests: Iterable[str] = (), weight: float = 0.8) -> None:
        """On the UNet."""
        self.switcher.put_on_unet(Blend.of([BlendPart(digest, weight, 0.0) for digest in digests]))
