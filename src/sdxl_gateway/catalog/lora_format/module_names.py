"""Finds the module of a checkpoint that a name in a LoRA file means, in each of the spellings in use.

    unet.down_blocks.1.attentions.0.proj_in              diffusers, PEFT, newer OneTrainer
    lora_unet_down_blocks_1_attentions_0_proj_in         kohya and others trained on diffusers' UNet
    lora_unet_input_blocks_4_1_proj_in                   kohya on the original (SGM) UNet
    diffusion_model.input_blocks.4.1.proj_in             the same with dots
    lora_te2_text_model_encoder_layers_0_mlp_fc1         text encoders likewise

Names with underscores cannot be split unambiguously; instead the real names are converted to them, and looked up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdxl_gateway.catalog.model_files import TEXT, TEXT_2, TEXT_LEVEL, UNET

CLIP_ENCODERS = {"clip_l": TEXT, "clip_g": TEXT_2}
"""The text encoders by their names in bundled embeddings."""

DOTTED_PREFIXES = (
    ("base_model.model.", ""),
    ("unet.", UNET),
    ("model.diffusion_model.", UNET),
    ("diffusion_model.", UNET),
    ("text_encoder.", TEXT),
    ("text_encoder_2.", TEXT_2),
    ("text_encoders.clip_l.transformer.", TEXT),
    ("text_encoders.clip_g.transformer.", TEXT_2),
    ("clip_l.", TEXT),
    ("clip_g.", TEXT_2),
)
UNDERSCORED_PREFIXES = (
    ("lora_unet_", UNET),
    ("lora_te1_", TEXT),
    ("lora_te2_", TEXT_2),
    ("lora_te_", TEXT),
    ("lycoris_unet_", UNET),
    ("lycoris_text_encoder_2_", TEXT_2),
    ("lycoris_text_encoder_", TEXT),
    ("lycoris_te1_", TEXT),
    ("lycoris_te2_", TEXT_2),
    ("lycoris_", UNET),
)

RESNET_LAYERS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
TOP_LAYERS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A module and the spelling of its name: "diffusers", "kohya" or "sgm"."""

    module: str
    spelling: str


class ModuleNames:
    """All spellings of one checkpoint's modules."""

    def __init__(self, modules: Sequence[str]) -> None:
        inner = [name.partition(".")[2] for name in modules if name.startswith(f"{UNET}.")]
        self._sgm = {sgm: f"{UNET}.{name}" for name, sgm in sgm_names(inner)}
        self._exact = frozenset(modules)
        self._underscored = {_underscored(name): name for name in modules}
        self._sgm_underscored = {_underscored(f"{UNET}.{sgm}"): name for sgm, name in self._sgm.items()}

    def find(self, raw: str, component: str | None = None) -> Found | None:
        """The module that `raw` means; `component` is that of names without a prefix."""
        prefix, rest = _split(raw, UNDERSCORED_PREFIXES)
        if prefix:
            return self._find_underscored(f"{prefix}.{rest}")
        prefix, rest = _split(raw, DOTTED_PREFIXES)
        while rest != raw and not prefix:
            raw = rest
            prefix, rest = _split(raw, DOTTED_PREFIXES)
        return self._find_dotted(prefix or component or UNET, rest)

    def _find_underscored(self, name: str) -> Found | None:
        component, _, rest = name.partition(".")
        for spelling, table in (("kohya", self._underscored), ("sgm", self._sgm_underscored)):
            for candidate in _text_model_added(component, rest, "_"):
                if found := table.get(_underscored(candidate)):
                    return Found(found, spelling)
        return None

    def _find_dotted(self, component: str, rest: str) -> Found | None:
        for candidate in _text_model_added(component, rest, "."):
            if candidate in self._exact:
                return Found(candidate, "diffusers")
        sgm = self._sgm.get(rest) if component == UNET else None
        return Found(sgm, "sgm") if sgm else None


def _split(raw: str, prefixes: Sequence[tuple[str, str]]) -> tuple[str, str]:
    for prefix, component in prefixes:
        if raw.startswith(prefix):
            return component, raw.removeprefix(prefix)
    return "", raw


def _text_model_added(component: str, rest: str, separator: str) -> tuple[str, ...]:
    # A file may leave out a level that the names of all checkpoints here have.
    plain = f"{component}.{rest}"
    return (plain,) if component == UNET else (plain, f"{component}.{TEXT_LEVEL}{separator}{rest}")


def _underscored(name: str) -> str:
    component, _, rest = name.partition(".")
    return f"{component}.{rest.replace('.', '_')}"


def sgm_names(modules: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of (diffusers name, original name) for UNet modules, from the block layout that the names imply."""
    blocks = _block_starts(modules)
    for name in modules:
        if sgm := TOP_LAYERS.get(name) or _block_layer(name.split("."), blocks):
            yield name, sgm


@dataclass(frozen=True, slots=True)
class _Block:
    """The position of a block's first layer in the original's flat list, and its numbers of resnets and attentions."""

    start: int
    resnets: int
    attentions: int


def _block_starts(modules: Sequence[str]) -> Mapping[tuple[str, int], _Block]:
    counts: dict[tuple[str, int], dict[str, int]] = {}
    for name in modules:
        words = name.split(".")
        if words[0] in {"down_blocks", "up_blocks"} and len(words) > 3 and words[1].isdigit() and words[3].isdigit():
            kinds = counts.setdefault((words[0], int(words[1])), {})
            kinds[words[2]] = max(kinds.get(words[2], 0), int(words[3]) + 1)
    starts: dict[tuple[str, int], _Block] = {}
    following = {"down_blocks": 1, "up_blocks": 0}
    for key in sorted(counts):
        kinds = counts[key]
        resnets = kinds.get("resnets", 0)
        starts[key] = _Block(following[key[0]], resnets, kinds.get("attentions", 0))
        # A downsampler is a layer of its own; an upsampler belongs to the last resnet's layer.
        following[key[0]] += resnets + kinds.get("downsamplers", 0)
    return starts


def _block_layer(words: list[str], blocks: Mapping[tuple[str, int], _Block]) -> str | None:
    match words:
        case ["mid_block", "resnets", number, *rest] if number.isdigit():
            return _resnet(f"middle_block.{2 * int(number)}", rest)
        case ["mid_block", "attentions", number, *rest] if number.isdigit():
            return ".".join([f"middle_block.{2 * int(number) + 1}", *rest])
        case ["down_blocks" | "up_blocks" as side, block, kind, number, *rest] if block.isdigit() and number.isdigit():
            place = blocks[side, int(block)]
            prefix = "input_blocks" if side == "down_blocks" else "output_blocks"
            return _side_layer(prefix, place, kind, int(number), rest)
    return None


def _side_layer(prefix: str, place: _Block, kind: str, number: int, rest: list[str]) -> str | None:
    match kind:
        case "resnets":
            return _resnet(f"{prefix}.{place.start + number}.0", rest)
        case "attentions":
            return ".".join([f"{prefix}.{place.start + number}.1", *rest])
        case "downsamplers":
            return f"{prefix}.{place.start + place.resnets + number}.0.op"
        case "upsamplers":
            inner = 2 if place.attentions else 1
            return f"{prefix}.{place.start + place.resnets - 1}.{inner}.conv"
    return None


def _resnet(prefix: str, rest: list[str]) -> str | None:
    layer = RESNET_LAYERS.get(".".join(rest))
    return f"{prefix}.{layer}" if layer else None
