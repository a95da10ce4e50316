"""Plans how a LoRA file changes each layer of a checkpoint, or refuses it, from its header and the shapes.

Everything is decided here, before a weight is read: names are resolved to the checkpoint's modules, every tensor's
shape is checked, and a file that only fits in part is refused, because a half-loaded LoRA looks like a bad LoRA.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from sdxl_gateway.catalog.lora_format.alphas import ToldAlpha, told_alpha
from sdxl_gateway.catalog.lora_format.base_models import (
    cross_attention_width,
    family_by_width,
    foreign_family,
    told_family,
)
from sdxl_gateway.catalog.lora_format.module_names import Found, ModuleNames
from sdxl_gateway.catalog.lora_format.peft_config import PeftScales, read_scales
from sdxl_gateway.catalog.lora_format.shapes import check_roles, check_shapes, check_token, rank_of
from sdxl_gateway.catalog.lora_format.tensor_names import OLD_DIFFUSERS, PEFT, Spelled, foreign_algorithm, spelled
from sdxl_gateway.catalog.safetensors_header import FLOAT_DTYPES, INTEGER_DTYPES, Header, TensorInfo
from sdxl_gateway.core.errors import AdapterRefused

SHOWN_NAMES = 3
ONE_TRAINER = "OneTrainer"
_TOKEN = re.compile(r"bundle_emb\.(?P<token>.+)\.(?P<encoder>clip_l|clip_g)\Z")
_HARMLESS = re.compile(
    r"(bundle_emb\..+_out|emb_params|string_to_param.*|global_step|epoch|clip_[lg]|.*logit_scale.*|.*position_ids)\Z"
)


@dataclass(frozen=True, slots=True)
class ModulePart:
    """The change of one module.

    `module` is component-prefixed ("unet.….to_q"); `tensors` maps roles to tensor names in the file: lora has "down",
    "up", "mid"; loha "w1_a" … "t2"; lokr "w1" … "t2"; full "diff"; any may have "alpha", "dora_scale" and "diff_b", and
    lora "bias". `scale` is set if a config or the metadata give it; otherwise it is alpha over rank, or 1 if there is
    no alpha, or it is 0.
    """

    module: str
    algorithm: str
    tensors: Mapping[str, str]
    scale: float | None = None
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class LoraPlan:
    """Everything a file changes in one checkpoint. `unmatched` are known extra tensors that change nothing.

    `tokens` maps a bundled embedding's trigger token to its tensors ("clip_l", "clip_g"), whose vectors replace it.
    `told_alpha` is set if the scales come from the metadata alone.
    """

    dialect: str
    parts: tuple[ModulePart, ...]
    unmatched: tuple[str, ...] = ()
    tokens: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    told_alpha: ToldAlpha | None = None

    @property
    def alpha_keys(self) -> tuple[str, ...]:
        """The names of the tensors that hold an alpha."""
        return tuple(part.tensors["alpha"] for part in self.parts if "alpha" in part.tensors)

    @property
    def ranks(self) -> tuple[int, ...]:
        """All distinct ranks, in ascending order."""
        return tuple(sorted({part.rank for part in self.parts if part.rank is not None}))


@dataclass(slots=True)
class _Layer:
    """The tensors of one module while they are collected."""

    raw: str
    tensors: dict[str, str] = field(default_factory=dict)
    algorithms: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Gathered:
    layers: dict[str, _Layer] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    extras: list[str] = field(default_factory=list)
    tokens: dict[str, dict[str, str]] = field(default_factory=dict)
    spellings: set[str] = field(default_factory=set)
    styles: set[str] = field(default_factory=set)


def plan_lora(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> LoraPlan:
    """The plan of `header` for `shapes` (module name to weight shape).

    Raises AdapterRefused naming a family or dialect that is not supported, layers that the checkpoint does not have, or
    a layer whose shapes do not fit.
    """
    try:
        return _plan(header, shapes)
    except AdapterRefused:
        # Only checked now, since it takes as long as planning a file that fits.
        _refuse_foreign(header, shapes)
        raise


def _plan(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> LoraPlan:
    scales = read_scales(header.metadata)
    gathered = _gather(header, _names(tuple(shapes)), scales.component)
    if gathered.lost:
        raise AdapterRefused(_lost_message(gathered, header))
    if not gathered.layers:
        raise AdapterRefused("Nothing in this file changes a layer of the checkpoint.")
    told = _told_alpha(header, gathered, scales)
    parts = tuple(_part(name, layer, header, shapes[name], scales, told) for name, layer in gathered.layers.items())
    for token, tensors in gathered.tokens.items():
        _check_token(token, {encoder: header.tensors[key] for encoder, key in tensors.items()}, shapes)
    return LoraPlan(_dialect(header, gathered), parts, tuple(gathered.extras), gathered.tokens, header.metadata, told)


def _told_alpha(header: Header, gathered: _Gathered, scales: PeftScales) -> ToldAlpha | None:
    """The alpha in the metadata, if neither a tensor nor a PEFT config has one."""
    said = scales.configs or any("alpha" in layer.tensors for layer in gathered.layers.values())
    return None if said else told_alpha(header.metadata)


@lru_cache(maxsize=8)
def _names(modules: tuple[str, ...]) -> ModuleNames:
    """Cached for a checkpoint, because a folder's files are planned one after another."""
    return ModuleNames(modules)


def _refuse_foreign(header: Header, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for key in header.tensors:
        if algorithm := foreign_algorithm(key):
            raise AdapterRefused(f"This file is of the kind {algorithm}, which is not supported.")
    own_width = next((shape[1] for name, shape in shapes.items() if name.endswith("attn2.to_k")), None)
    family = foreign_family(header.tensors) or family_by_width(header, own_width)
    if family is not None:
        width = cross_attention_width(header)
        wide = f" (its text features are {width} wide, the checkpoint's {own_width})" if width else ""
        raise AdapterRefused(f"This LoRA was made for {family}, not for this checkpoint{wide}.")


def _gather(header: Header, names: ModuleNames, component: str | None) -> _Gathered:
    gathered = _Gathered()
    found_by_raw: dict[str, Found | None] = {}
    for key in header.tensors:
        if match := _TOKEN.match(key):
            gathered.tokens.setdefault(match["token"], {})[match["encoder"]] = key
            continue
        what = spelled(key)
        if what is None:
            (gathered.extras if _HARMLESS.match(key) else gathered.lost).append(key)
            continue
        if what.raw not in found_by_raw:
            found_by_raw[what.raw] = names.find(what.raw, component)
        _place(gathered, key, what, found_by_raw[what.raw])
    return gathered


def _place(gathered: _Gathered, key: str, what: Spelled, found: Found | None) -> None:
    if found is None:
        (gathered.extras if _HARMLESS.match(what.raw) else gathered.lost).append(key)
        return
    layer = gathered.layers.setdefault(found.module, _Layer(what.raw))
    if what.role in layer.tensors:
        raise AdapterRefused(f"The file holds the layer '{found.module}' twice, under different names.")
    layer.tensors[what.role] = key
    gathered.spellings.add(found.spelling)
    if what.algorithm:
        layer.algorithms.add(what.algorithm)
    if what.style:
        gathered.styles.add(what.style)


def _part(
    module: str,
    layer: _Layer,
    header: Header,
    weight: tuple[int, ...],
    scales: PeftScales,
    told: ToldAlpha | None,
) -> ModulePart:
    if len(layer.algorithms) > 1:
        kinds = " and ".join(sorted(layer.algorithms))
        raise AdapterRefused(f"The file changes the layer '{module}' in two ways at once ({kinds}).")
    algorithm = next(iter(layer.algorithms), "full")
    check_roles(module, algorithm, set(layer.tensors))
    infos = {role: header.tensors[key] for role, key in layer.tensors.items()}
    _check_dtypes(module, infos)
    tensor_shapes = {role: info.shape for role, info in infos.items()}
    check_shapes(module, algorithm, tensor_shapes, weight)
    rank = rank_of(algorithm, tensor_shapes)
    scale = scales.scale(module, rank) if rank and "alpha" not in infos else None
    if rank and told is not None:
        scale = told.scale(weight, rank)
    if algorithm == "lokr" and rank is None and scales.configs:
        raise AdapterRefused(f"The layer '{module}' is a PEFT LoKr of whole factors, whose scale is not supported.")
    return ModulePart(module, algorithm, layer.tensors, scale, rank)


def _check_dtypes(module: str, infos: Mapping[str, TensorInfo]) -> None:
    for role, info in infos.items():
        # Some trainers store alpha as an integer, as it was in their settings.
        if info.dtype not in (FLOAT_DTYPES | INTEGER_DTYPES if role == "alpha" else FLOAT_DTYPES):
            raise AdapterRefused(f"The LoRA's '{role}' for the layer '{module}' holds {info.dtype}, not real numbers.")


def _check_token(token: str, infos: Mapping[str, TensorInfo], shapes: Mapping[str, tuple[int, ...]]) -> None:
    for encoder, info in infos.items():
        if info.dtype not in FLOAT_DTYPES:
            raise AdapterRefused(f"The embedding '{token[:100]}' holds {info.dtype}, not real numbers.")
        check_token(token, encoder, info.shape, shapes)


def _dialect(header: Header, gathered: _Gathered) -> str:
    if gathered.tokens or "ot_branch" in header.metadata or any(k.startswith("clip_") for k in header.tensors):
        return ONE_TRAINER
    if PEFT in gathered.styles:
        return PEFT
    if OLD_DIFFUSERS in gathered.styles:
        return OLD_DIFFUSERS
    style = next(iter(sorted(gathered.styles)), "kohya")
    return f"{style} (SGM names)" if "sgm" in gathered.spellings else style


def _lost_message(gathered: _Gathered, header: Header) -> str:
    lost = sorted({key if (what := spelled(key)) is None else what.raw for key in gathered.lost})
    told = told_family(header.metadata)
    family = f" The file says it was made for {told}." if told and told != "SDXL" else ""
    if not gathered.layers:
        return f"Nothing in this file fits the checkpoint: {_some(lost)}.{family}"
    return (
        f"{len(lost)} of the file's {len(lost) + len(gathered.layers)} layers have no place in this checkpoint: "
        f"{_some(lost)}.{family}"
    )


def _some(names: Iterable[str]) -> str:
    listed = [name[:120] for name in names]
    more = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return ", ".join(f"'{name}'" for name in listed[:SHOWN_NAMES]) + more
