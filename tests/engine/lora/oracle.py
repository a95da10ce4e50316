"""Computes a layer's change by the libraries that trained the file, LyCORIS and PEFT, from their forward pass.

The effective weight is derived from the outputs for unit inputs, in float64. (LyCORIS's `merge_to` cannot be used: in
4.1.3 it applies alpha / rank twice for LoHa and LoKr.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

ROLES = {"lora_up.weight": "up", "lora_down.weight": "down", "lora_mid.weight": "mid"}
RANK, ALPHA = 3, 2.0


@dataclass(frozen=True)
class Trained:
    """One layer's file content by role, and the weight (and bias) it results in at full strength, float64."""

    algorithm: str
    tensors: dict[str, Tensor]
    weight: Tensor
    bias: Tensor | None = None
    scale: float | None = None
    magnitude_key: str = "dora_scale"


Train = Callable[[Tensor], Trained]


def layer_of(weight: Tensor) -> nn.Linear | nn.Conv2d:
    """A bare layer with this weight, in float64."""
    layer: nn.Linear | nn.Conv2d
    if weight.dim() == 2:
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        rows, inputs, kernel, _ = weight.shape
        layer = nn.Conv2d(inputs, rows, kernel, padding=kernel // 2, bias=False)
    layer.weight.data = weight.double()
    return layer


def effective_weight(forward: Callable[[Tensor], Tensor], shape: torch.Size) -> Tensor:
    """The weight of a linear map, from its outputs for unit inputs."""
    with torch.no_grad():
        if len(shape) == 2:
            return forward(torch.eye(shape[1], dtype=torch.float64)).T
        kernel = shape[2]
        impulses = torch.zeros(shape[1], shape[1], kernel, kernel, dtype=torch.float64)
        impulses[range(shape[1]), range(shape[1]), kernel // 2, kernel // 2] = 1
        return forward(impulses).flip(2, 3).transpose(0, 1)


def lycoris(kind: type[Any], algorithm: str, **options: Any) -> Train:
    """Random factors for `kind`, named and shaped as LyCORIS saves them, with an alpha that differs from the rank."""

    def train(weight: Tensor) -> Trained:
        layer = layer_of(weight.float())
        layer.weight.data = layer.weight.data.float()
        module = kind("layer", layer, 1.0, **{"lora_dim": RANK, "alpha": ALPHA} | options)
        for name, value in module.named_parameters():
            if name == "dora_scale":
                value.data.mul_(torch.rand_like(value) + 0.5)
            else:
                value.data.copy_(torch.randn_like(value) * 0.3)
        tensors = {_role(key): value.detach().clone() for key, value in module.custom_state_dict().items()}
        if "w1" in tensors and "w2" in tensors:
            tensors["alpha"] = torch.tensor(ALPHA)  # which must be ignored
        layer.weight.data = weight.double()
        module.double().apply_to()
        return Trained(algorithm, tensors, effective_weight(layer, weight.shape))

    return train


def _role(key: str) -> str:
    return ROLES.get(key, key.removeprefix("hada_").removeprefix("lokr_"))


def full(weight: Tensor) -> Trained:
    layer = layer_of(weight.float())
    layer.bias = nn.Parameter(torch.zeros(weight.shape[0], dtype=torch.float64))
    module = FullModule("layer", layer, 1.0)
    for value in module.parameters():
        value.data.copy_(torch.randn_like(value).float() * 0.3)
    tensors = {"diff": module.weight.detach().float(), "diff_b": module.bias.detach().float()}
    module.org_forward = layer.forward
    zeros = torch.zeros(1, weight.shape[1], *[3] * (weight.dim() - 2), dtype=torch.float64)
    with torch.no_grad():
        bias = module(zeros)[0].reshape(weight.shape[0], -1)[:, 0]
    shift = bias.reshape(1, -1, *[1] * (weight.dim() - 2))
    return Trained("full", tensors, effective_weight(lambda x: module(x) - shift, weight.shape), bias)


def norm(weight: Tensor) -> Trained:
    """A group norm whose weight is `weight`; its bias starts at zero."""
    channels = weight.shape[0]
    layer = nn.GroupNorm(4, channels).double()
    layer.weight.data = weight.double()
    module = NormModule("layer", layer, 1.0).double()
    for value in module.parameters():
        value.data.copy_(torch.randn_like(value).float())
    tensors = {"diff": module.w_norm.detach().float(), "diff_b": module.b_norm.detach().float()}
    module.org_forward = layer.forward
    x = torch.randn(1, channels, 2, dtype=torch.float64)
    with torch.no_grad():
        y, z = module(x)[0], nn.functional.group_norm(x, 4)[0]
    slope = (y[:, 0] - y[:, 1]) / (z[:, 0] - z[:, 1])
    return Trained("full", tensors, slope, y[:, 0] - slope * z[:, 0])


def peft(*, dora: bool = False, rank_stabilised: bool = False, bias: bool = False) -> Train:
    def train(weight: Tensor) -> Trained:
        layer = layer_of(weight)
        layer.bias = nn.Parameter(torch.zeros(weight.shape[0], dtype=torch.float64))
        model = nn.Sequential(layer)
        config = LoraConfig(
            r=RANK,
            lora_alpha=ALPHA,
            target_modules=["0"],
            use_dora=dora,
            use_rslora=rank_stabilised,
            lora_bias=bias,
            init_lora_weights=False,
        )
        model = inject_adapter_in_model(config, model).double().eval()
        wrapped = model[0]
        roles = {"up": wrapped.lora_B["default"].weight, "down": wrapped.lora_A["default"].weight}
        if bias:
            roles["bias"] = wrapped.lora_B["default"].bias
        if dora:
            roles["dora_scale"] = wrapped.lora_magnitude_vector["default"].weight
            roles["dora_scale"].data.mul_(torch.rand_like(roles["dora_scale"]) + 0.5)
        for value in roles.values():
            value.data.copy_(value.data.float())
        tensors = {role: value.detach().float().clone() for role, value in roles.items()}
        with torch.no_grad():
            shift = model(torch.zeros(1, *weight.shape[1:2], *[3] * (weight.dim() - 2), dtype=torch.float64))
            shift = shift.flatten(2)[..., 0] if weight.dim() > 2 else shift
        broadcast = shift.reshape(1, -1, *[1] * (weight.dim() - 2))
        effective = effective_weight(lambda x: model(x) - broadcast, weight.shape)
        scale = float(wrapped.scaling["default"])
        return Trained("lora", tensors, effective, shift[0] if bias else None, scale, "lora_magnitude_vector.weight")

    return train


LINEAR: dict[str, Train] = {
    "lora": lycoris(LoConModule, "lora"),
    "lora, rank-stabilised": lycoris(LoConModule, "lora", rs_lora=True),
    "lora, PEFT": peft(),
    "lora, PEFT rank-stabilised": peft(rank_stabilised=True),
    "lora, PEFT with bias": peft(bias=True),
    "loha": lycoris(LohaModule, "loha"),
    "lokr, whole w1": lycoris(LokrModule, "lokr", lora_dim=2),
    "lokr, whole w2": lycoris(
        LokrModule, "lokr", lora_dim=8, factor=2, decompose_both=True, unbalanced_factorization=True
    ),
    "lokr, both factorised": lycoris(LokrModule, "lokr", lora_dim=1, decompose_both=True),
    "lokr, both whole": lycoris(LokrModule, "lokr", full_matrix=True),
    "dora by row": lycoris(LoConModule, "lora", weight_decompose=True),
    "dora by input": lycoris(LoConModule, "lora", weight_decompose=True, wd_on_out=False),
    "dora, PEFT": peft(dora=True),
    "loha, dora by row": lycoris(LohaModule, "loha", weight_decompose=True),
    "loha, dora by input": lycoris(LohaModule, "loha", weight_decompose=True, wd_on_out=False),
    "lokr, dora by row": lycoris(LokrModule, "lokr", lora_dim=2, weight_decompose=True),
    "lokr, dora by input": lycoris(LokrModule, "lokr", lora_dim=2, weight_decompose=True, wd_on_out=False),
    "full": full,
}
CONV: dict[str, Train] = LINEAR | {
    "lora with mid": lycoris(LoConModule, "lora", use_tucker=True),
    "loha, Tucker": lycoris(LohaModule, "loha", use_tucker=True),
    "lokr, Tucker": lycoris(LokrModule, "lokr", lora_dim=2, use_tucker=True),
    "lokr, Tucker, both factorised": lycoris(LokrModule, "lokr", lora_dim=1, use_tucker=True, decompose_both=True),
    "lora with mid, dora by row": lycoris(LoConModule, "lora", use_tucker=True, weight_decompose=True),
    "lora with mid, dora by input": lycoris(
        LoConModule, "lora", use_tucker=True, weight_decompose=True, wd_on_out=False
    ),
}
