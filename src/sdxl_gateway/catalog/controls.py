"""Opens the configured ControlNets by their configs and headers, without torch."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from sdxl_gateway.catalog.model_files import files_fingerprint, headers_of, resolve_folder, weight_files
from sdxl_gateway.config import DEMO_MODEL, Control
from sdxl_gateway.core.errors import CheckpointProblem
from sdxl_gateway.core.recipe import Preprocessor

Shapes = Mapping[str, tuple[int, ...]]

MODES = (
    ("openpose", "pose"),
    ("depth",),
    ("softedge", "hed", "pidi", "scribble", "ted"),
    ("canny", "lineart", "anime_lineart", "mlsd"),
    ("normal",),
    ("segment", "seg"),
    ("tile",),
    ("repaint", "inpaint"),
)
"""The modes of the common union models, by number; only models with eight have the last two."""
SDXL_CONFIG: Mapping[str, Any] = {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "block_out_channels": [320, 640, 1280],
    "transformer_layers_per_block": [1, 2, 10],
    "attention_head_dim": [5, 10, 20],
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
    "use_linear_projection": True,
    "num_class_embeds": None,
    "conditioning_embedding_out_channels": [16, 32, 96, 256],
}
"""The config of a single file that has none beside it: a full SDXL ControlNet, as diffusers makes it."""
CONFIG = "config.json"
MAX_CONFIG_BYTES = 2**20
_SKIP = re.compile(r"down_blocks\.(\d+)\.(resnets|downsamplers)\.(\d+)\.(conv2|conv)")
_RESIDUAL = re.compile(r"controlnet_down_blocks\.(\d+)")
_UNION_MARK = "task_embedding"
_OTHERS = {
    "lora_controlnet": "a Control-LoRA",
    "control_model.input_hint_block.0.weight": "a ControlNet in the layout of its first authors",
    "input_hint_block.0.weight": "a ControlNet in the layout of its first authors",
    "body.0.resnets.0.block1.weight": "a T2I-Adapter",
}
"""Tensors that identify models which are mistaken for a ControlNet in diffusers' layout."""


class Widths(NamedTuple):
    """The sizes that a ControlNet has to share with a UNet; `skips` are the channels of each skip connection.

    `context` is the width of text tokens, None for a model without cross-attention; `added` that of the additional
    embeddings of sizes and pooled text.
    """

    skips: tuple[int, ...]
    context: int | None
    added: int

    def fit(self, unet: Widths) -> bool:
        """Whether a ControlNet of these sizes works with a UNet of those."""
        return self.skips == unet.skips and self.added == unet.added and self.context in (None, unet.context)


@dataclass(frozen=True, slots=True)
class ControlEntry:
    """The ControlNet of one `[controls.*]` section; `config` is diffusers', `files` are its weights.

    `modes` is empty unless it is a union; `mode` is the one that a union uses if a request names none.
    """

    name: str
    digest: str
    files: tuple[Path, ...]
    config: Mapping[str, Any]
    widths: Widths
    parameters: int
    preprocessor: Preprocessor | None = None
    modes: tuple[tuple[str, ...], ...] = ()
    mode: int | None = None

    @property
    def places(self) -> tuple[Path, ...]:
        """Its weights, and the places where its config may be."""
        first = self.files[0]
        return *self.files, first.parent / CONFIG, first.with_suffix(".json")

    @property
    def union(self) -> bool:
        """Whether it is a union model, which reads several kinds of maps."""
        return bool(self.modes)

    def fits(self, unet: Shapes) -> bool:
        """Whether it fits a checkpoint with these component-prefixed module shapes."""
        return self.widths.fit(unet_widths(unet))

    def mode_called(self, word: str) -> int | None:
        """The number of the mode with this name or number; None if there is none."""
        if word.isdecimal() and int(word) < len(self.modes):
            return int(word)
        return next((number for number, names in enumerate(self.modes) if word.strip().lower() in names), None)


def open_controls(sections: Mapping[str, Control]) -> dict[str, ControlEntry]:
    """All ControlNets, by name. Raises CheckpointProblem for the first that cannot be used."""
    return {name: open_control(name, section) for name, section in sections.items()}


def open_control(name: str, section: Control) -> ControlEntry:
    """The ControlNet of one `[controls.*]` section: a diffusers folder, or a single safetensors file in its layout.

    Raises CheckpointProblem, naming the section, for what is not a ControlNet of the SDXL family.
    """
    try:
        return _opened(name, section)
    except CheckpointProblem as problem:
        raise CheckpointProblem(f"controls.{name}: {problem}") from problem


def _opened(name: str, section: Control) -> ControlEntry:
    files, config_file = _found(section.path)
    tensors = {key: tensor.shape for header in headers_of(files) for key, tensor in header.tensors.items()}
    _check_family(tensors)
    modes = tensors[_UNION_MARK][0] if _UNION_MARK in tensors else 0
    config = _config(config_file, modes)
    _check_config(config, tensors, modes)
    entry = ControlEntry(
        name,
        files_fingerprint(files if config_file is None else (*files, config_file), files[0].parent),
        files,
        config,
        _control_widths(tensors),
        sum(map(prod, tensors.values())),
        section.preprocessor,
        tuple(MODES[i] if i < len(MODES) else (str(i),) for i in range(modes)),
    )
    return _with_mode(entry, section.mode or name, demanded=section.mode is not None)


def _found(path: str) -> tuple[tuple[Path, ...], Path | None]:
    """The weights and the config; a single file may have a config of its own name, or none."""
    file = Path(path).expanduser()
    if file.is_file():
        own = file.resolve().with_suffix(".json")
        return (file.resolve(),), own if own.is_file() else None
    folder = resolve_folder(path, DEMO_MODEL)
    files = weight_files(folder)
    if not files or not (folder / CONFIG).is_file():
        raise CheckpointProblem("This is neither a .safetensors file nor a folder with config.json and such files.")
    whole = [one for one in files if one.stem == "diffusion_pytorch_model"]
    return tuple(whole or files), folder / CONFIG


def _check_family(tensors: Shapes) -> None:
    if "controlnet_mid_block.weight" not in tensors:
        known = next((what for key, what in _OTHERS.items() if key in tensors), "no ControlNet")
        raise CheckpointProblem(f"This is {known}; a ControlNet in diffusers' layout is read.")
    if "add_embedding.linear_1.weight" not in tensors:
        raise CheckpointProblem("This ControlNet is of another family than SDXL: it is told nothing of sizes.")


def _config(path: Path | None, modes: int) -> dict[str, Any]:
    if path is None:
        return {**SDXL_CONFIG, **({"num_control_type": modes} if modes else {})}
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise CheckpointProblem(f"'{path.name}' is too large for a config.")
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointProblem(f"'{path.name}' is not readable.") from error
    if not isinstance(found, dict):
        raise CheckpointProblem(f"'{path.name}' is not a JSON object.")
    return {key: value for key, value in found.items() if not key.startswith("_")}


def _check_config(config: Mapping[str, Any], tensors: Shapes, modes: int) -> None:
    """Raises CheckpointProblem if the config does not match the weights, or needs what is not supported."""
    widths = _control_widths(tensors)
    told = {
        "block_out_channels": _per_block(widths.skips, tensors),
        "projection_class_embeddings_input_dim": widths.added,
        **({} if widths.context is None else {"cross_attention_dim": widths.context}),
        **({"num_control_type": modes} if modes else {}),
    }
    wrong = [key for key, value in told.items() if config.get(key) != value]
    if wrong:
        raise CheckpointProblem(f"Its config and its weights differ in {', '.join(wrong)}.")
    if config.get("global_pool_conditions") or config.get("conditioning_channels", 3) != 3:
        raise CheckpointProblem("ControlNets that pool their picture, or read other than RGB pictures, are not served.")


def _per_block(skips: Sequence[int], tensors: Shapes) -> list[int]:
    """The channels of each block: those of its last skip connection."""
    found = _skips_by_place({key.removesuffix(".weight"): shape for key, shape in tensors.items()})
    last = {block: width for (block, _, _), width in sorted(found.items())}
    return list(last.values()) if last else list(skips)


def _control_widths(tensors: Shapes) -> Widths:
    """The sizes of a ControlNet, by its outputs to the UNet."""
    shapes = {key.removesuffix(".weight"): shape for key, shape in tensors.items() if key.endswith(".weight")}
    skips = {int(found[1]): shape[0] for key, shape in shapes.items() if (found := _RESIDUAL.fullmatch(key))}
    return Widths(tuple(skips[i] for i in sorted(skips)), _context(shapes), shapes["add_embedding.linear_1"][1])


def unet_widths(shapes: Shapes) -> Widths:
    """The sizes of a checkpoint's UNet, by its modules' shapes."""
    unet = {key.removeprefix("unet."): shape for key, shape in shapes.items() if key.startswith("unet.")}
    down = _skips_by_place(unet)
    added = unet.get("add_embedding.linear_1", (0, 0))[1]
    return Widths((unet["conv_in"][0], *(down[place] for place in sorted(down))), _context(unet), added)


def _skips_by_place(modules: Shapes) -> dict[tuple[int, bool, int], int]:
    """Channels of the skip connections on the way down, by block, whether they are a downsampler's, and number."""
    found = ((_SKIP.fullmatch(key), shape) for key, shape in modules.items())
    return {(int(at[1]), at[2] == "downsamplers", int(at[3])): shape[0] for at, shape in found if at}


def _context(modules: Shapes) -> int | None:
    return next((shape[1] for key, shape in modules.items() if key.endswith("attn2.to_k")), None)


def _with_mode(entry: ControlEntry, word: str, *, demanded: bool) -> ControlEntry:
    """A union uses the mode that its section names, or else the one that its own name is, if any."""
    mode = entry.mode_called(word)
    if demanded and mode is None:
        known = ", ".join(names[0] for names in entry.modes) or "none"
        raise CheckpointProblem(f"'{word}' is none of its modes, which are: {known}.")
    return replace(entry, mode=mode)
