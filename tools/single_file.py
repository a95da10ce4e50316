"""Takes a diffusers folder of the SDXL family, writes it as one file in the original layout, as model sites share it.

python -m tools.single_file FOLDER FILE              a checkpoint as a single file
python -m tools.single_file --tensors FOLDER FILE    names and shapes of such a file's tensors, by a folder's configs
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from sdxl_gateway.catalog.lora_format.module_names import sgm_names
from sdxl_gateway.catalog.model_files import components_of, published_name

UNET_PREFIX = "model.diffusion_model."
CLIP_L_PREFIX = "conditioner.embedders.0.transformer."
CLIP_G_PREFIX = "conditioner.embedders.1.model."
REFINER_CLIP_G_PREFIX = "conditioner.embedders.0.model."
VAE_PREFIX = "first_stage_model."
CLIP_G_LAYERS = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
CLIP_G_TOP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_layout(components: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """One state dict of a whole checkpoint, from those of "unet", "text_encoder", "text_encoder_2" and maybe "vae".

    A refiner has no "text_encoder".
    """
    found = {f"{UNET_PREFIX}{name}": tensor for name, tensor in original_unet(components["unet"])}
    text = {published_name("text_encoder", name): tensor for name, tensor in components.get("text_encoder", {}).items()}
    found |= {CLIP_L_PREFIX + name.removeprefix("text_encoder."): tensor for name, tensor in text.items()}
    prefix = CLIP_G_PREFIX if text else REFINER_CLIP_G_PREFIX
    found |= {prefix + name: tensor for name, tensor in original_clip_g(components["text_encoder_2"])}
    return found | {VAE_PREFIX + name: tensor for name, tensor in original_vae(components.get("vae", {}))}


def original_unet(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A UNet's tensors by the names its inventors gave them."""
    modules = [name.rpartition(".")[0] for name in tensors]
    names = dict(sgm_names(list(dict.fromkeys(modules))))
    for name, tensor in tensors.items():
        module, _, role = name.rpartition(".")
        yield f"{names[module]}.{role}", tensor


def original_clip_g(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The second text encoder's, as OpenCLIP keeps them: query, key and value in one, the projection transposed."""
    yield "text_projection", tensors["text_projection.weight"].T.contiguous()
    for name, tensor in tensors.items():
        layer, _, rest = name.removeprefix("text_model.encoder.layers.").partition(".")
        module, _, role = rest.rpartition(".")
        if name in CLIP_G_TOP:
            yield CLIP_G_TOP[name], tensor
        elif module in CLIP_G_LAYERS:
            yield f"transformer.resblocks.{layer}.{CLIP_G_LAYERS[module]}.{role}", tensor
        elif module == "self_attn.q_proj":
            parts = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            yield f"transformer.resblocks.{layer}.attn.in_proj_{role}", torch.cat(parts)


def original_vae(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """A VAE's tensors by the names its inventors gave them; its attention is made of 1x1 convolutions there."""
    blocks = 1 + max((int(name.split(".")[2]) for name in tensors if ".up_blocks." in name), default=0)
    for name, tensor in tensors.items():
        original = ".".join(_vae_words(name.split("."), blocks))
        is_attention = ".attentions." in name and tensor.ndim == 2
        yield original, tensor[:, :, None, None] if is_attention else tensor


def _vae_words(words: list[str], blocks: int) -> Iterable[str]:
    match words:
        case [side, "down_blocks", block, "resnets", number, *rest]:
            return [side, "down", block, "block", number, *_shortcut(rest)]
        case [side, "down_blocks", block, "downsamplers", _, *rest]:
            return [side, "down", block, "downsample", *rest]
        case [side, "up_blocks", block, "resnets", number, *rest]:
            return [side, "up", str(blocks - 1 - int(block)), "block", number, *_shortcut(rest)]
        case [side, "up_blocks", block, "upsamplers", _, *rest]:
            return [side, "up", str(blocks - 1 - int(block)), "upsample", *rest]
        case [side, "mid_block", "resnets", number, *rest]:
            return [side, "mid", f"block_{int(number) + 1}", *rest]
        case [side, "mid_block", "attentions", _, *module, role]:
            return [side, "mid", "attn_1", VAE_ATTENTION[".".join(module)], role]
        case [side, "conv_norm_out", role]:
            return [side, "norm_out", role]
    return words


def _shortcut(rest: list[str]) -> list[str]:
    return ["nin_shortcut" if word == "conv_shortcut" else word for word in rest]


def load_components(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """The state dicts of a diffusers folder's components."""
    files = {name: sorted((folder / name).glob("*.safetensors")) for name in names}
    return {name: {k: v for path in paths for k, v in load_file(path).items()} for name, paths in files.items()}


def tensors_by(configs: Path) -> dict[str, list[int]]:
    """Name and shape of every tensor in the single-file layout, by a folder's configs."""
    found = original_layout({name: model.state_dict() for name, model in empty_models(configs).items()})
    return {name: list(tensor.shape) for name, tensor in sorted(found.items())}


def empty_models(configs: Path) -> dict[str, nn.Module]:
    """Models of a folder's configs, without values."""
    with torch.device("meta"):
        return {name: KINDS[name](configs / name) for name in (*components_of(configs), "vae")}


def _text_encoder(kind: type[nn.Module]) -> Callable[[Path], nn.Module]:
    return lambda folder: kind(CLIPTextConfig.from_pretrained(folder))


def _model(kind: Any) -> Callable[[Path], nn.Module]:
    return lambda folder: kind.from_config(kind.load_config(folder))


KINDS: dict[str, Callable[[Path], nn.Module]] = {
    "unet": _model(UNet2DConditionModel),
    "text_encoder": _text_encoder(CLIPTextModel),
    "text_encoder_2": _text_encoder(CLIPTextModelWithProjection),
    "vae": _model(AutoencoderKL),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tensors", action="store_true")
    options = parser.parse_args()
    if options.tensors:
        data = json.dumps(tensors_by(options.folder), separators=(",", ":")).encode()
        options.file.write_bytes(gzip.compress(data, mtime=0))
        return
    components = load_components(options.folder, (*components_of(options.folder), "vae"))
    save_file(original_layout(components), options.file, metadata={"format": "pt"})


if __name__ == "__main__":
    main()
