r"""Takes the tensors one adapter holds for one parameter, gives the exact float32 change it makes to that parameter.

Every parameter is seen as a matrix W of `rows` (output features or channels) times `columns` (input features times the
kernel window, in the order input, height, width); norms and biases are one column. `s` is the adapter's own scale:
alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA; an absent or zero alpha means s = 1. `⊙` is the
elementwise (Hadamard), `⊗` the Kronecker product. The formulas are those of the libraries the files are trained with.

LoRA (linear, 1x1 and kxk convolution: LoCon). Hu et al. 2021; kohya sd-scripts, PEFT.
    ΔW = s · up · down,  up (rows, r), down (r, columns)
LoRA with a core tensor ("mid", CP/Tucker LoCon). LyCORIS, modules/locon.py.
    ΔW[o, i, k, l] = s · Σ_mn up[o, m] · mid[m, n, k, l] · down[n, i]
LoHa. Hyeon-Woo et al. 2021 (FedPara); LyCORIS, modules/loha.py.
    ΔW = s · (w1_a · w1_b) ⊙ (w2_a · w2_b),  r = rows of w1_b
  with core tensors t1, t2 each half is  Σ_mn t[m, n, k, l] · w_a[m, o] · w_b[n, i]   (w_a is then (r, rows))
LoKr. Edalati et al. 2022 (KronA); LyCORIS, modules/lokr.py.
    ΔW = s · w1 ⊗ w2,  w1 or w1_a · w1_b,  w2 or w2_a · w2_b or Σ_mn t2[m, n, k, l] · w2_a[m, o] · w2_b[n, i]
  r is the rank of the factorised half (w2's when both are); s = 1 when both halves are whole, whatever alpha says.
DoRA over any of these. Liu et al. 2024; LyCORIS, functional/general.py; PEFT, tuners/lora/dora.py.
    V = W + ΔW,  W_dora = m · V / (‖V‖ + ε),  change = W_dora - W
  The norm runs over each output row when the magnitude m has one entry an output row (PEFT always), or over each input
  channel (all rows and the window) when m is (1, inputs, ...), as older LyCORIS files have it; ε is float32's epsilon,
  as in LyCORIS. A blend adds weight · change: weight 1 is the trained model, 0 the base, and several adapters on one
  layer add their changes, each taken from the pristine W. (LyCORIS itself scales only m/‖V‖ - 1, so that its weight 0
  is not the base; PEFT scales ΔW inside the norm. All three agree at weight 1.)
Full difference, and the weights and biases of norms.
    ΔW = diff
"""

from __future__ import annotations

from dataclasses import Field, dataclass, fields, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from sdxl_gateway.core.errors import AdapterRefused


class LowRank(Protocol):
    """The change `scale · up · down`: up (rows, rank) and down (rank, columns), in the dtype they are stored in."""

    @property
    def up(self) -> Tensor: ...
    @property
    def down(self) -> Tensor: ...
    @property
    def scale(self) -> float: ...


class Delta(Protocol):
    """One adapter's change to one parameter; implementations are dataclasses."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of its parameter. Raises AdapterRefused if its tensors do not fit each other."""

    def low_rank(self) -> LowRank | None:
        """The change as a product of two thin matrices, if it is one and does not depend on the weight; else None."""

    def dense(self, pristine: Tensor) -> Tensor:
        """The change, float32 (rows, columns); `pristine` is the pristine weight, float32 of the same shape."""


@dataclass(frozen=True, slots=True)
class Lora:
    """up (rows, r), down (r, columns); with a core tensor mid (r, r, kh, kw), down (r, inputs)."""

    up: Tensor
    down: Tensor
    mid: Tensor | None
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns); raises AdapterRefused where its tensors do not fit each other."""
        rank, window = self.down.shape[0], 1
        if self.mid is not None:
            _match(self.mid.shape[1], rank)
            rank, window = self.mid.shape[0], self.mid[0, 0].numel()
        _match(self.up.shape[1], rank)
        return self.up.shape[0], self.down.shape[1] * window

    def low_rank(self) -> LowRank | None:
        """Itself, unless it has a core tensor."""
        return self if self.mid is None else None

    def dense(self, pristine: Tensor) -> Tensor:
        """scale · up · down; with a core, the core is contracted with `down` first."""
        down = self.down.float()
        if self.mid is not None:
            down = torch.einsum("mn...,ni->mi...", self.mid.float(), down).flatten(1)
        return (self.up.float() * self.scale) @ down


@dataclass(frozen=True, slots=True)
class Loha:
    """w1_a, w2_a (rows, r), w1_b, w2_b (r, columns); with cores t1, t2 (r, r, kh, kw): (r, rows) and (r, inputs)."""

    w1_a: Tensor
    w1_b: Tensor
    w2_a: Tensor
    w2_b: Tensor
    t1: Tensor | None
    t2: Tensor | None
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns); raises AdapterRefused where its tensors do not fit each other."""
        rows, columns = _product_shape(self.w1_a, self.w1_b, self.t1)
        for mine, other in zip((rows, columns), _product_shape(self.w2_a, self.w2_b, self.t2), strict=True):
            _match(mine, other)
        return rows, columns

    def low_rank(self) -> None:
        """None: an elementwise product is not of low rank."""
        return

    def dense(self, pristine: Tensor) -> Tensor:
        """scale · (w1_a · w1_b) ⊙ (w2_a · w2_b)."""
        first = _product(self.w1_a, self.w1_b, self.t1)
        return (first * self.scale).mul_(_product(self.w2_a, self.w2_b, self.t2))


@dataclass(frozen=True, slots=True)
class Lokr:
    """Each half is whole (`a` None) or factorised; `b2` is (outputs, inputs[, kh, kw]) or, factorised, (r, columns)."""

    a1: Tensor | None
    b1: Tensor
    a2: Tensor | None
    b2: Tensor
    t2: Tensor | None
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns); raises AdapterRefused where its tensors do not fit each other."""
        outer, inner = _product_shape(self.a1, self.b1, None), _product_shape(self.a2, self.b2, self.t2)
        return outer[0] * inner[0], outer[1] * inner[1]

    def low_rank(self) -> None:
        """None: a Kronecker product is not of low rank."""
        return

    def dense(self, pristine: Tensor) -> Tensor:
        """scale · (first half ⊗ second half), the Kronecker product."""
        first = _product(self.a1, self.b1, None) * self.scale
        return torch.kron(first, _product(self.a2, self.b2, self.t2))


@dataclass(frozen=True, slots=True)
class Full:
    """`diff` has the parameter's own shape."""

    diff: Tensor
    scale: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns), with all dimensions but the first flattened into the columns."""
        return self.diff.shape[0], self.diff[0].numel()

    def low_rank(self) -> None:
        """None: it is stored in full."""
        return

    def dense(self, pristine: Tensor) -> Tensor:
        """scale · diff."""
        return self.diff.float().reshape(self.shape) * self.scale


@dataclass(frozen=True, slots=True)
class Dora:
    """`inner` with a magnitude, which has one entry for each row if `by_row`, else one for each input channel."""

    inner: Delta
    magnitude: Tensor
    by_row: bool

    @property
    def shape(self) -> tuple[int, int]:
        """The inner change's."""
        return self.inner.shape

    def low_rank(self) -> None:
        """None: its gains depend on the weight."""
        return

    def dense(self, pristine: Tensor) -> Tensor:
        """gain · (W + ΔW) - W, where the gain normalises each row or channel to its magnitude."""
        cube = self._merged(pristine)
        return cube.mul_(self._gain(cube)).view_as(pristine).sub_(pristine)

    def gain(self, pristine: Tensor) -> Tensor:
        """The factor of W + ΔW: float32, one for each row or input channel."""
        return self._gain(self._merged(pristine)).flatten()

    def _merged(self, pristine: Tensor) -> Tensor:
        """W + ΔW as (rows, channels with an entry each, the rest of the columns)."""
        channels = 1 if self.by_row else self.magnitude.numel()
        return self.inner.dense(pristine).add_(pristine).view(pristine.shape[0], channels, -1)

    def _gain(self, cube: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(cube, dim=(1, 2) if self.by_row else (0, 2), keepdim=True)
        norm += torch.finfo(torch.float32).eps
        return self.magnitude.float().reshape(norm.shape).div(norm)


def _product(a: Tensor | None, b: Tensor, core: Tensor | None) -> Tensor:
    """`b` alone, `a · b`, or both with a core tensor, as a float32 matrix (rows, columns)."""
    right = b.flatten(1).float()
    if a is None:
        return right
    if core is None:
        return a.flatten(1).float() @ right
    return torch.einsum("mn...,mo,ni->oi...", core.float(), a.float(), right).flatten(1)


def _product_shape(a: Tensor | None, b: Tensor, core: Tensor | None) -> tuple[int, int]:
    """(rows, columns) of `_product`."""
    if a is None:
        return b.shape[0], b[0].numel()
    if core is None:
        _match(a[0].numel(), b.shape[0])
        return a.shape[0], b[0].numel()
    _match(core.shape[0], a.shape[0])
    _match(core.shape[1], b.shape[0])
    return a[0].numel(), b[0].numel() * core[0, 0].numel()


def _match(one: int, other: int) -> None:
    if one != other:
        raise AdapterRefused("The LoRA file holds tensors that do not fit each other.")


def moved(delta: Delta, device: torch.device | str) -> Delta:
    """The same delta with its tensors on `device`."""
    changed = {f.name: _moved(getattr(delta, f.name), device) for f in fields(delta)}
    return replace(delta, **changed)


def _moved(value: object, device: torch.device | str) -> object:
    if isinstance(value, Tensor):
        return value.to(device)
    return moved(value, device) if isinstance(value, (Lora, Loha, Lokr, Full)) else value
