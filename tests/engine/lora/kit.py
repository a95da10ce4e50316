"""A small UNet and text encoders, adapter files for them, and a switcher to apply blends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sdxl_gateway.catalog.lora_format.plan import ModulePart
from sdxl_gateway.catalog.safetensors_header import read_header
from sdxl_gateway.config import HeaderCaps
from sdxl_gateway.core.errors import AdapterRefused
from sdxl_gateway.core.events import Measurement
from sdxl_gateway.core.recipe import Blend, BlendPart
from sdxl_gateway.engine.lora.apply import BlendSwitcher
from sdxl_gateway.engine.lora.cache import AdapterCache
from sdxl_gateway.engine.lora.formats import AdapterFile
from sdxl_gateway.engine.lora.layers import PristineHome
from sdxl_gateway.engine.lora.table import Kernel
from sdxl_gateway.engine.memory.budgets import PRISTINE_HOST, PRISTINE_VRAM
from sdxl_gateway.engine.memory.ledger import HOST, VRAM, Ledger
from sdxl_gateway.engine.timing import Timings

CPU = torch.device("cpu")
WEIGHTS = (0.5, 1.0, -0.7)
ROOMY_BYTES = 2**30
Tensors = dict[str, Tensor]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.to_q = nn.Linear(32, 32, bias=False)
        self.to_k = nn.Linear(64, 32, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(32, 32), nn.Dropout(0.0)])
        self.proj_in = nn.Conv2d(32, 32, 1)
        self.ff = nn.Linear(32, 64)


class TinyUNet(nn.Module):
    """The kinds of layers of SDXL's UNet, with names like its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(4, 32, 3, padding=1)
        self.attentions = nn.ModuleList([Attention(), Attention()])
        self.norm1 = nn.GroupNorm(4, 32)
        self.conv1 = nn.Conv2d(32, 64, 3, padding=1)


class TinyEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 64)])


class TinyTextModel(nn.Module):
    """A text encoder in the layout of newer transformers, without the "text_model" level."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = TinyEncoder()


class TinyTextModelWithProjection(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.text_model = TinyTextModel()


def tiny_components(dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    components: dict[str, nn.Module] = {
        "unet": TinyUNet(),
        "text_encoder": TinyTextModel(),
        "text_encoder_2": TinyTextModelWithProjection(),
    }
    for module in components.values():
        module.to(dtype).requires_grad_(False)
    return components


def part(module: str, algorithm: str, tensors: Mapping[str, Tensor], scale: float | None = None) -> ModulePart:
    """`tensors` by role; in the file each is named "<module>.<role>"."""
    return ModulePart(module, algorithm, {role: f"{module}.{role}" for role in tensors}, scale)


def lora(rows: int, columns: int, rank: int = 4, alpha: float = 2.0, size: float = 0.1) -> Tensors:
    return {
        "up": torch.randn(rows, rank) * size,
        "down": torch.randn(rank, columns) * size,
        "alpha": torch.tensor(alpha),
    }


@dataclass
class Shelf:
    """Adapter files by digest, as in the private store."""

    folder: Path
    files: dict[str, AdapterFile] = field(default_factory=dict)

    def add(self, digest: str, modules: Iterable[tuple[str, str, Tensors]], scale: float | None = None) -> str:
        """Add a file; `modules` are (module, algorithm, tensors by role)."""
        listed = list(modules)
        tensors = {f"{module}.{role}": t.contiguous() for module, _, roles in listed for role, t in roles.items()}
        parts = [part(module, algorithm, roles, scale) for module, algorithm, roles in listed]
        return self.add_file(digest, tensors, parts)

    def add_file(self, digest: str, tensors: Tensors, parts: Sequence[ModulePart]) -> str:
        path = self.folder / f"{digest}.safetensors"
        save_file(tensors, path)
        places = read_header(path, HeaderCaps()).tensors
        self.files[digest] = AdapterFile(digest, path, places, parts)
        return digest

    def open(self, digest: str) -> AdapterFile:
        if digest not in self.files:
            raise AdapterRefused("There is no such LoRA.")
        return self.files[digest]


@dataclass
class Bench:
    """Components, and everything needed to apply blends to them."""

    components: dict[str, nn.Module]
    shelf: Shelf
    ledger: Ledger
    cache: AdapterCache
    switcher: BlendSwitcher
    told: list[Measurement]

    def weight(self, name: str) -> Tensor:
        return parameter(self.components, name)

    def bits(self) -> dict[str, Tensor]:
        return snapshot(self.components)


def bench(
    shelf: Shelf,
    dtype: torch.dtype = torch.float32,
    vram_bytes: int = ROOMY_BYTES,
    host_bytes: int = ROOMY_BYTES,
    stacked: bool = False,
    stack_bytes: int = 2**20,
    components: dict[str, nn.Module] | None = None,
    pristine: PristineHome = "auto",
    pristine_bytes: int | None = None,
    kernel: Kernel | None = None,
) -> Bench:
    parts = tiny_components(dtype) if components is None else components
    told: list[Measurement] = []
    ledger = Ledger({VRAM: vram_bytes, HOST: host_bytes, PRISTINE_VRAM: pristine_bytes, PRISTINE_HOST: None})
    cache = AdapterCache(shelf.open, ledger, CPU, told.append)
    switcher = BlendSwitcher(
        parts,
        cache,
        ledger,
        Timings(told.append),
        pristine=pristine,
        stacked=stacked,
        stack_bytes=stack_bytes,
        kernel=kernel,
    )
    return Bench(parts, shelf, ledger, cache, switcher, told)


def blend(*weights: tuple[str, float] | tuple[str, float, float]) -> Blend:
    """A Blend of (digest, weight[, text encoder weight]) each."""
    return Blend.of([BlendPart(w[0], w[1], w[2] if len(w) == 3 else w[1]) for w in weights])


def parameter(components: Mapping[str, nn.Module], name: str) -> Tensor:
    component, _, rest = name.partition(".")
    names = dict(components[component].named_parameters())
    return names[rest if rest in names else rest.removeprefix("text_model.")].detach()


def snapshot(components: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{component}.{name}": p.detach().clone()
        for component, module in components.items()
        for name, p in module.named_parameters()
    }


def same_bits(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def assert_one_rounding(actual: Tensor, expected: Tensor) -> None:
    """Within half a unit in the last place of the storage dtype, plus the error of float32 arithmetic before it."""
    finfo = torch.finfo(actual.dtype)
    exponent = torch.floor(torch.log2(expected.abs().clamp_min(finfo.smallest_normal)))
    unit = finfo.eps * torch.exp2(exponent)
    allowed = 0.5 * unit + 1e-6 * expected.abs().max()
    excess = ((actual.double() - expected).abs() - allowed).max()
    assert excess <= 0, f"{float(excess)} beyond one rounding"


MakeBench = Callable[..., Bench]
