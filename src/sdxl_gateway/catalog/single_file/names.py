"""Maps the module names of a single file to those of diffusers, which a checkpoint in a folder has.

In the original layout a UNet's blocks are one flat list. The position of the first downsampler tells how many of them
make one block of diffusers. https://github.com/Stability-AI/generative-models
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sdxl_gateway.catalog.lora_format.module_names import RESNET_LAYERS, TOP_LAYERS
from sdxl_gateway.catalog.model_files import TEXT, TEXT_2, UNET
from sdxl_gateway.catalog.single_file.read import SingleFile

Shape = tuple[int, ...]
WEIGHT = ".weight"
_TOP = {original: name for name, original in TOP_LAYERS.items()}
_RESNET = {original: name for name, original in RESNET_LAYERS.items()}
_CLIP_G_TOP = {
    "token_embedding.weight": "text_model.embeddings.token_embedding",
    "positional_embedding": "text_model.embeddings.position_embedding",
    "ln_final.weight": "text_model.final_layer_norm",
}
_CLIP_G_LAYERS = {
    "ln_1.weight": "layer_norm1",
    "ln_2.weight": "layer_norm2",
    "mlp.c_fc.weight": "mlp.fc1",
    "mlp.c_proj.weight": "mlp.fc2",
    "attn.out_proj.weight": "self_attn.out_proj",
}


def file_shapes(file: SingleFile) -> dict[str, Shape]:
    """Weight shape by component-prefixed module name, like model_files.module_shapes."""
    unet = _component(file, UNET)
    found = {f"{UNET}.{module}": unet[f"{original}{WEIGHT}"] for original, module in unet_modules(unet)}
    for name, shape in _component(file, TEXT).items():
        if name.endswith(WEIGHT):
            found[f"{TEXT}.{name.removesuffix(WEIGHT)}"] = shape
    for name, shape in _component(file, TEXT_2).items():
        found |= {f"{TEXT_2}.{module}": own for module, own in _clip_g(name, shape)}
    return found


def _component(file: SingleFile, name: str) -> dict[str, Shape]:
    """The shapes of the component's tensors, without its prefix; empty if the file's family has no such component."""
    if name not in file.prefixes:
        return {}
    prefix, tensors = file.prefixes[name], file.header.tensors
    return {key.removeprefix(prefix): tensor.shape for key, tensor in tensors.items() if key.startswith(prefix)}


def unet_modules(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Pairs of (original module, diffusers module) for a UNet's tensors, given without their prefix."""
    modules = [name.removesuffix(WEIGHT) for name in names if name.endswith(WEIGHT)]
    per_block = _layers_to_a_block(modules)
    for module in modules:
        if found := _TOP.get(module) or _block_module(module.split("."), per_block):
            yield module, found


def _layers_to_a_block(modules: Iterable[str]) -> int:
    """The resnets of a block and its downsampler; all layers if there is only one block, without a downsampler."""
    layers = [module.split(".") for module in modules if module.startswith("input_blocks.")]
    downsamplers = [int(words[1]) for words in layers if words[2:] == ["0", "op"] and words[1].isdecimal()]
    return max(1, min(downsamplers, default=len(layers) + 1))


def _block_module(words: list[str], per_block: int) -> str | None:
    match words:
        case ["input_blocks", number, inner, *rest] if number.isdecimal():
            block, layer = divmod(int(number) - 1, per_block)
            return _side_module(f"down_blocks.{block}", layer, inner, rest)
        case ["output_blocks", number, inner, *rest] if number.isdecimal():
            block, layer = divmod(int(number), per_block)
            return _side_module(f"up_blocks.{block}", layer, inner, rest)
        case ["middle_block", "0" | "2" as number, *rest]:
            return _resnet(f"mid_block.resnets.{int(number) // 2}", rest)
        case ["middle_block", "1", *rest]:
            return ".".join(["mid_block.attentions.0", *rest])
    return None


def _side_module(block: str, layer: int, inner: str, rest: list[str]) -> str | None:
    match inner, rest:
        case "0", ["op"]:
            return f"{block}.downsamplers.0.conv"
        case "1" | "2", ["conv"]:
            return f"{block}.upsamplers.0.conv"
        case "0", _:
            return _resnet(f"{block}.resnets.{layer}", rest)
        case "1", _:
            return ".".join([f"{block}.attentions.{layer}", *rest])
    return None


def _resnet(prefix: str, rest: list[str]) -> str | None:
    layer = _RESNET.get(".".join(rest))
    return f"{prefix}.{layer}" if layer else None


def _clip_g(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    """Splits OpenCLIP's joint query, key and value, and transposes its projection."""
    if name in _CLIP_G_TOP:
        yield _CLIP_G_TOP[name], shape
    elif name == "text_projection":
        yield name, shape[::-1]
    elif name.startswith("transformer.resblocks."):
        number, _, rest = name.removeprefix("transformer.resblocks.").partition(".")
        layer = f"text_model.encoder.layers.{number}"
        if rest in _CLIP_G_LAYERS:
            yield f"{layer}.{_CLIP_G_LAYERS[rest]}", shape
        elif rest == "attn.in_proj_weight" and shape:
            for part in ("q_proj", "k_proj", "v_proj"):
                yield f"{layer}.self_attn.{part}", (shape[0] // 3, *shape[1:])
