"""Reads the PEFT configs in a file's metadata: the scale of each layer, and the component it belongs to.

There are two places: `adapter_config` (the copies of PEFT folders made here: component to config, "" if the folder
does not say), and `lora_adapter_metadata` (diffusers: "unet.lora_alpha" and the like).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from sdxl_gateway.catalog.model_files import TEXT, TEXT_2, UNET
from sdxl_gateway.core.errors import AdapterRefused

FOLDER_CONFIG_KEY = "adapter_config"
DIFFUSERS_CONFIG_KEY = "lora_adapter_metadata"
CONFIG_NAME = "adapter_config.json"
DEFAULT_ALPHA = 8
MAX_ALPHA = 2**31
SUPPORTED_TYPES = ("LORA", "LOHA", "LOKR")
_COMPONENT_BY_CLASS = {
    "UNet2DConditionModel": UNET,
    "CLIPTextModel": TEXT,
    "CLIPTextModelWithProjection": TEXT_2,
}
_BASE_CHANGING = ("pissa", "olora", "corda", "loftq", "lora_ga")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.]+\Z")


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """Scales are alpha over rank, or over its root; of `patterns` (module suffix, alpha) the first match applies."""

    alpha: float
    root_of_rank: bool = False
    patterns: tuple[tuple[str, float], ...] = ()

    def scale(self, module: str, rank: int) -> float:
        """The factor of the module's change, for factors of this rank."""
        alpha = next((a for suffix, a in self.patterns if _ends_with(module, suffix)), self.alpha)
        return alpha / (sqrt(rank) if self.root_of_rank else rank)


@dataclass(frozen=True, slots=True)
class PeftScales:
    """The configs by component; the one under "" applies to every component without its own."""

    configs: Mapping[str, PeftConfig] = field(default_factory=dict)
    component: str | None = None

    def scale(self, module: str, rank: int) -> float | None:
        """The scale of `module`'s factors; None if there is no config for it."""
        component, _, inner = module.partition(".")
        config = self.configs.get(component) or self.configs.get("")
        return config.scale(inner, rank) if config else None


def _ends_with(module: str, suffix: str) -> bool:
    if suffix.startswith("^"):
        return module == suffix[1:]
    return module == suffix or module.endswith(f".{suffix}")


def read_scales(metadata: Mapping[str, str]) -> PeftScales:
    """The scales of a file with these metadata. Raises AdapterRefused for a config that is not supported."""
    if text := metadata.get(FOLDER_CONFIG_KEY):
        raw = _json_object(text)
        return PeftScales({name: peft_config(config) for name, config in raw.items()}, _component(raw.get("")))
    if text := metadata.get(DIFFUSERS_CONFIG_KEY):
        grouped: dict[str, dict[str, Any]] = {}
        for name, value in _json_object(text).items():
            component, _, key = name.partition(".")
            grouped.setdefault(component, {})[key] = value
        return PeftScales({name: peft_config(config) for name, config in grouped.items()})
    return PeftScales()


def _json_object(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AdapterRefused("The LoRA's PEFT config is not valid JSON.") from error
    if not isinstance(parsed, dict):
        raise AdapterRefused("The LoRA's PEFT config is not a JSON object.")
    return parsed


def peft_config(raw: Any) -> PeftConfig:
    """Raises AdapterRefused for tuners other than LoRA, LoHa and LoKr, and for options that change the arithmetic."""
    if not isinstance(raw, dict):
        raise AdapterRefused("The LoRA's PEFT config is not a JSON object.")
    kind = raw.get("peft_type", "LORA")
    if kind not in SUPPORTED_TYPES:
        raise AdapterRefused(f"This PEFT adapter is of the type {str(kind)[:40]!r}, which is not supported.")
    if raw.get("bias", "none") != "none":
        raise AdapterRefused("This PEFT adapter trains biases beside its factors, which is not supported.")
    if raw.get("modules_to_save"):
        raise AdapterRefused("This PEFT adapter replaces whole layers (modules_to_save), which is not supported.")
    if raw.get("fan_in_fan_out"):
        raise AdapterRefused("This PEFT adapter stores its layers transposed (fan_in_fan_out), which is not supported.")
    if str(raw.get("init_lora_weights")).lower().startswith(_BASE_CHANGING):
        raise AdapterRefused("This PEFT adapter was trained from changed base weights (PiSSA and its like).")
    alpha = _number(raw.get("lora_alpha" if kind == "LORA" else "alpha", DEFAULT_ALPHA))
    return PeftConfig(alpha, raw.get("use_rslora") is True, _patterns(raw))


def _patterns(raw: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    patterns = raw.get("alpha_pattern") or {}
    if not isinstance(patterns, dict):
        raise AdapterRefused("The PEFT config's alpha_pattern is not a JSON object.")
    return tuple((_suffix(name), _number(alpha)) for name, alpha in patterns.items())


def _suffix(pattern: str) -> str:
    """The plain name in a pattern: PEFT allows regular expressions, which are not accepted from files."""
    plain = pattern.removesuffix("$").replace("\\.", ".")
    if not _PLAIN_NAME.match(plain.removeprefix("^")):
        raise AdapterRefused("The PEFT config's alpha_pattern holds something other than plain module names.")
    return plain


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= MAX_ALPHA:
        raise AdapterRefused("The PEFT config holds a rank or alpha that is not a positive number.")
    return float(value)


def _component(raw: Any) -> str | None:
    mapping = raw.get("auto_mapping") if isinstance(raw, dict) else None
    name = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    return _COMPONENT_BY_CLASS.get(str(name))
