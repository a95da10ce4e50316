"""Opens the IP-Adapter of the `[ip_adapter]` section: plain or plus, and which UNets it fits; reads headers only."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sdxl_gateway.catalog.model_files import CHECKPOINT_CAPS, UNET, file_fingerprint, fingerprint, headers
from sdxl_gateway.catalog.safetensors_header import FLOAT_DTYPES, read_header
from sdxl_gateway.config import IpAdapter
from sdxl_gateway.core.errors import AdapterRefused, CheckpointProblem

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

FAMILIES = {768: "Stable Diffusion 1.5", 1024: "Stable Diffusion 2", 4096: "Flux or SD3"}
"""Families by the text width of their cross-attention; SDXL's is 2048."""
PLAIN_TOKENS = 4
PLUS_LAYERS = 4
HEAD = 64
_CROSS_ATTENTION = re.compile(rf"{UNET}\.((down|up|mid)_block.*\.attn2)\.to_k")
_BLOCKS = ("down", "up", "mid")


@dataclass(frozen=True, slots=True)
class IpAdapterFile:
    """An IP-Adapter and its image encoder, whose input are squares of `side` pixels.

    With `plus` it reads the encoder's output for every patch, else that for the whole picture; a picture becomes
    `tokens` tokens. `layers` are the shapes (width, text width) of each cross-attention's keys, in diffusers' order.
    """

    name: str
    path: Path
    image_encoder: Path
    digest: str
    plus: bool
    tokens: int
    side: int
    layers: tuple[Shape, ...]

    @property
    def places(self) -> tuple[Path, ...]:
        """Its weights, and the files of its image encoder."""
        return self.path, *sorted(self.image_encoder.glob("*"))

    def misfit(self, shapes: Shapes) -> str:
        """Why it does not fit the UNet with these module shapes; "" if it does."""
        wanted = _cross_attentions(shapes)
        if self.layers == wanted:
            return ""
        width = self.layers[0][1]
        if wanted and width != wanted[0][1]:
            family = FAMILIES.get(width, "another model")
            return (
                f"'{self.path.name}' was made for {family}: its text is {width} wide, the checkpoint's {wanted[0][1]}."
            )
        return f"'{self.path.name}' guides {len(self.layers)} layers, which are not the checkpoint's {len(wanted)}."


def open_ip_adapter(section: IpAdapter) -> IpAdapterFile:
    """The adapter of the section. Raises CheckpointProblem, naming the key, if it is neither plain nor plus."""
    path, encoder = Path(section.path).expanduser(), Path(section.image_encoder).expanduser()
    shapes = _shapes_of(path)
    _refuse_other_kinds(path.name, shapes)
    plus = "image_proj.latents" in shapes
    read = _read(path.name, shapes, plus=plus)
    told = _told_by(encoder, plus=plus)
    if told.numbers != read.numbers:
        raise CheckpointProblem(
            f"ip_adapter.image_encoder: '{path.name}' reads {read.numbers} numbers, and '{encoder.name}/' gives "
            f"{told.numbers}; adapters for ViT-H and for ViT-bigG are files of their own."
        )
    digest = hashlib.sha256((file_fingerprint(path) + fingerprint(encoder)).encode()).hexdigest()
    layers = _layers(path.name, shapes, read.width)
    return IpAdapterFile(path.stem, path.resolve(), encoder.resolve(), digest, plus, read.tokens, told.side, layers)


def _shapes_of(path: Path) -> Shapes:
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        raise CheckpointProblem(
            f"ip_adapter.path: '{path.name}' is a pickle, which is never opened; most adapters are also published as "
            ".safetensors."
        )
    try:
        tensors = read_header(path, CHECKPOINT_CAPS).tensors
    except AdapterRefused as error:
        raise CheckpointProblem(f"ip_adapter.path: '{path.name}': {error.message}") from error
    if any(tensor.dtype not in FLOAT_DTYPES for tensor in tensors.values()):
        raise _odd(path.name)
    return {name: tensor.shape for name, tensor in tensors.items()}


def _refuse_other_kinds(name: str, shapes: Shapes) -> None:
    other = _other_kind(shapes)
    if other:
        raise CheckpointProblem(f"ip_adapter.path: '{name}' is {other}; SDXL's plain and plus IP-Adapters are served.")


def _other_kind(shapes: Shapes) -> str:
    """The kind of a file that is neither plain nor plus; "" if it may be one of them."""
    if any(".to_k_lora." in name for name in shapes) or "image_proj.perceiver_resampler.proj_in.weight" in shapes:
        return "an IP-Adapter FaceID, which reads faces"
    if "image_proj.proj.3.weight" in shapes:
        return "an IP-Adapter Full, which no SDXL model has"
    if any("double_blocks." in name for name in shapes):
        return "an adapter for Flux"
    if any("lora_" in name for name in shapes):
        return "a LoRA"
    known = {"image_proj.proj.weight", "image_proj.latents"} & shapes.keys()
    return "" if known and "ip_adapter.1.to_k_ip.weight" in shapes else "no IP-Adapter"


@dataclass(frozen=True, slots=True)
class _Projection:
    """The projection of `numbers` features of a picture, or of a patch, to `tokens` tokens of that `width`."""

    numbers: int
    tokens: int
    width: int


def _read(name: str, shapes: Shapes, *, plus: bool) -> _Projection:
    """The projection, whose tensors must all have the shapes that follow from a few of them."""
    own = {key.removeprefix("image_proj."): shape for key, shape in shapes.items() if key.startswith("image_proj.")}
    try:
        read, wanted = _plus(own) if plus else _plain(own)
    except (KeyError, ValueError, IndexError):
        raise _odd(name) from None
    if own != wanted:
        raise _odd(name)
    return read


def _odd(name: str) -> CheckpointProblem:
    return CheckpointProblem(
        f"ip_adapter.path: '{name}' has tensors that no plain or plus IP-Adapter has, or lacks some."
    )


def _plain(own: Shapes) -> tuple[_Projection, Shapes]:
    rows, numbers = own["proj.weight"]
    width = rows // PLAIN_TOKENS
    wanted = {"proj.weight": (PLAIN_TOKENS * width, numbers), "proj.bias": (rows,)}
    return _Projection(numbers, PLAIN_TOKENS, width), wanted | _norm("norm", width)


def _plus(own: Shapes) -> tuple[_Projection, Shapes]:
    _, tokens, hidden = own["latents"]
    width, numbers = own["proj_out.weight"][0], own["proj_in.weight"][1]
    inner = own["layers.0.0.to_q.weight"][0] // HEAD * HEAD
    wanted: dict[str, Shape] = {
        "latents": (1, tokens, hidden),
        "proj_in.weight": (hidden, numbers),
        "proj_in.bias": (hidden,),
        "proj_out.weight": (width, hidden),
        "proj_out.bias": (width,),
        **_norm("norm_out", width),
    }
    for layer in range(PLUS_LAYERS):
        wanted |= _resampler_layer(f"layers.{layer}", hidden, inner)
    return _Projection(numbers, tokens, width), wanted


def _resampler_layer(prefix: str, hidden: int, inner: int) -> dict[str, Shape]:
    return {
        **_norm(f"{prefix}.0.norm1", hidden),
        **_norm(f"{prefix}.0.norm2", hidden),
        f"{prefix}.0.to_q.weight": (inner, hidden),
        f"{prefix}.0.to_kv.weight": (2 * inner, hidden),
        f"{prefix}.0.to_out.weight": (hidden, inner),
        **_norm(f"{prefix}.1.0", hidden),
        f"{prefix}.1.1.weight": (4 * hidden, hidden),
        f"{prefix}.1.3.weight": (hidden, 4 * hidden),
    }


def _norm(name: str, width: int) -> dict[str, Shape]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _layers(name: str, shapes: Shapes, width: int) -> tuple[Shape, ...]:
    """The shapes of layers 1, 3, 5, ...: in these files the even numbers stand for self-attentions."""
    own = {key.removeprefix("ip_adapter."): shape for key, shape in shapes.items() if key.startswith("ip_adapter.")}
    found = []
    for number in range(1, len(own), 2):
        keys, values = (own.get(f"{number}.{what}.weight", ()) for what in ("to_k_ip", "to_v_ip"))
        if keys != values or len(keys) != 2 or keys[1] != width:
            raise _odd(name)
        found.append(keys)
    if 2 * len(found) != len(own):
        raise _odd(name)
    return tuple(found)


def _cross_attentions(shapes: Shapes) -> tuple[Shape, ...]:
    """In diffusers' order of attention processors: down, up, and the middle last."""
    found = ((match, shape) for name, shape in shapes.items() if (match := _CROSS_ATTENTION.fullmatch(name)))
    return tuple(shape for _, shape in sorted(found, key=lambda one: _place(one[0])))


def _place(match: re.Match[str]) -> tuple[int, ...]:
    return (_BLOCKS.index(match[2]), *map(int, re.findall(r"\.(\d+)", match[1])))


@dataclass(frozen=True, slots=True)
class _Told:
    """An image encoder's output: `numbers` features of a square of `side` pixels, or of each of its patches."""

    numbers: int
    side: int


def _told_by(folder: Path, *, plus: bool) -> _Told:
    """The encoder's output, from its config and its weights, which must agree. Raises CheckpointProblem."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        hidden, projected, side, patch = (
            int(config[key]) for key in ("hidden_size", "projection_dim", "image_size", "patch_size")
        )
        places = (side // patch) ** 2 + 1
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
        raise _no_encoder(folder) from None
    shapes = _encoder_shapes(folder)
    agreed = {
        "visual_projection.weight": (projected, hidden),
        "vision_model.embeddings.position_embedding.weight": (places, hidden),
    }
    if not agreed.items() <= shapes.items() or list(folder.rglob("*.py")):
        raise _no_encoder(folder)
    return _Told(hidden if plus else projected, side)


def _encoder_shapes(folder: Path) -> dict[str, Shape]:
    try:
        return {name: tensor.shape for header in headers(folder) for name, tensor in header.tensors.items()}
    except CheckpointProblem as problem:
        raise CheckpointProblem(f"ip_adapter.image_encoder: {problem}") from problem


def _no_encoder(folder: Path) -> CheckpointProblem:
    return CheckpointProblem(
        f"ip_adapter.image_encoder: '{folder}' is not a folder of a CLIPVisionModelWithProjection in safetensors."
    )
