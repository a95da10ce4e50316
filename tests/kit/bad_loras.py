"""A catalogue of files that are not LoRAs for the demo model, each with the answer to a request that names it."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from sdxl_gateway.catalog.lora_format.module_names import sgm_names
from sdxl_gateway.catalog.model_files import module_shapes
from sdxl_gateway.config import DEMO_MODEL
from tests.kit.header_attacks import ATTACKS
from tests.kit.lora_files import file_bytes, kohya_name, write

Shape = tuple[int, ...]
SHAPES = module_shapes(DEMO_MODEL)
BLOCK = "unet.mid_block.attentions.0.transformer_blocks.0"
Q, K, OUT, CONV = (
    f"{BLOCK}.attn1.to_q",
    f"{BLOCK}.attn2.to_k",
    f"{BLOCK}.attn1.to_out.0",
    "unet.mid_block.resnets.0.conv1",
)
NORM = "unet.mid_block.attentions.0.norm"
TEXT = "text_encoder.text_model.encoder.layers.0.self_attn.q_proj"
WIDTH = SHAPES["text_encoder.text_model.embeddings.token_embedding"][1]
RANK = 4


@dataclass(frozen=True)
class BadLora:
    """A bad file `name`, and the answer to a request for it; `lay` writes it below the LoRA folder.

    `listed` marks files whose header is valid for this checkpoint, but whose values are not.
    """

    name: str
    lay: Callable[[Path], object]
    listed: bool = False
    status: int = 400
    code: str = "invalid_lora"

    @property
    def family(self) -> str:
        """The kind of error, in one word; those in `numbers` are only noticed by the engine, which reads the values."""
        return self.name.partition("-")[0]


def catalogue() -> list[BadLora]:
    """All of them, with unique names that are valid in a model name."""
    found = [*_headers(), *_containers(), *_places(), *_folders(), *_misfits(), *_families(), *_kinds(), *_numbers()]
    return [bad for bad in found if "pipe" not in bad.name or hasattr(os, "mkfifo")]


def _file(name: str, data: bytes, *, listed: bool = False) -> BadLora:
    return BadLora(name, lambda root: write(root / f"{name}.safetensors", data), listed)


def _headers() -> Iterator[BadLora]:
    for words, (data, _) in ATTACKS.items():
        yield _file(f"header-{words.replace(' ', '-')}", data)


def _containers() -> Iterator[BadLora]:
    saved, zipped = io.BytesIO(), io.BytesIO()
    torch.save(lora(Q), saved)
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("x.safetensors", save(lora(Q)))
    yield _file("container-torch-save", saved.getvalue())
    yield _file("container-pickle", pickle.dumps({"weights": [0.5] * 100}))
    yield _file("container-zip", zipped.getvalue())
    yield _file("container-gguf", b"GGUF" + bytes(200))
    yield _file("container-html", b"<!doctype html><title>404</title>" + b" " * 100)
    yield _file("container-git-lfs-pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    yield _file("container-half-a-download", save(lora(Q))[:-1000])
    yield _file("container-one-byte-less", save(lora(Q))[:-1])
    yield _file("container-one-byte-more", save(lora(Q)) + b"\0")


def _link(name: str, target: str) -> BadLora:
    return BadLora(name, lambda root: (root / f"{name}.safetensors").symlink_to(target))


def _absent(name: str, lay: Callable[[Path], object]) -> BadLora:
    """A file that is not recognized as a LoRA at all."""
    return BadLora(name, lay, status=404, code="model_not_found")


def _places() -> Iterator[BadLora]:
    good = save(lora(Q))
    yield _link("place-link-out", "/etc/passwd")
    yield _link("place-link-to-a-device", "/dev/zero")
    yield _link("place-link-to-nothing", "missing")
    yield _link("place-link-to-itself", "place-link-to-itself.safetensors")
    yield _link("place-link-to-the-folder-above", "../../log")
    yield BadLora("place-pipe", lambda root: os.mkfifo(root / "place-pipe.safetensors"))
    yield _absent("place-folder", lambda root: (root / "place-folder.safetensors").mkdir())
    yield BadLora("place-other-suffix", lambda root: write(root / "place-other-suffix.pt", good))
    yield _absent("place-hidden", lambda root: write(root / ".place-hidden.safetensors", good))
    yield _absent("place-still-coming", lambda root: write(root / "place-still-coming.safetensors.part", good))


def _folders() -> Iterator[BadLora]:
    config: dict[str, Any] = {"peft_type": "LORA", "r": RANK, "lora_alpha": 4}
    weights = save(lora(Q, peft_name))
    changes: dict[str, dict[str, Any]] = {
        "another-tuner": {"peft_type": "IA3"},
        "trained-biases": {"bias": "all"},
        "whole-layers": {"modules_to_save": ["conv_in"]},
        "transposed": {"fan_in_fan_out": True},
        "changed-base": {"init_lora_weights": "pissa"},
        "alpha-text": {"lora_alpha": "much"},
        "alpha-pattern": {"alpha_pattern": {"(a+)+$": 1}},
    }
    for name, changed in changes.items():
        yield _peft(f"folder-{name}", json.dumps(config | changed).encode(), weights)
    yield _peft("folder-config-cut", json.dumps(config).encode()[:-5], weights)
    yield _peft("folder-weights-cut", json.dumps(config).encode(), weights[:-1])
    yield _peft("folder-without-weights", json.dumps(config).encode(), None)


def _peft(name: str, config: bytes, weights: bytes | None) -> BadLora:
    def lay(root: Path) -> None:
        if weights is not None:
            write(root / name / "adapter_model.safetensors", weights)
        write(root / name / "adapter_config.json", config)

    return BadLora(name, lay)


def peft_name(module: str) -> str:
    return f"base_model.model.{module.removeprefix('unet.')}"


def lora(module: str, name: Callable[[str], str] = kohya_name, **changed: Tensor) -> dict[str, Tensor]:
    """Random factors that fit; `changed` replaces them by role."""
    rows, *columns = SHAPES[module]
    suffixes = ("lora_A.weight", "lora_B.weight") if name is peft_name else ("lora_down.weight", "lora_up.weight")
    down, up = torch.rand(RANK, *columns) - 0.5, torch.rand(rows, RANK, *[1 for _ in columns[1:]]) - 0.5
    factors = {
        f"{name(module)}.{suffixes[0]}": changed.pop("down", down),
        f"{name(module)}.{suffixes[1]}": changed.pop("up", up),
    }
    return factors | {f"{name(module)}.{role}": tensor for role, tensor in changed.items()}


def _misfits() -> Iterator[BadLora]:
    rows, columns = SHAPES[Q]
    q, text = kohya_name(Q), kohya_name(TEXT)
    down, up = torch.rand(RANK, columns), torch.rand(rows, RANK)
    sgm = dict(sgm_names([name.removeprefix("unet.") for name in SHAPES if name.startswith("unet.")]))
    twice = lora(Q) | lora(Q, lambda module: f"diffusion_model.{sgm[module.removeprefix('unet.')]}")
    files: Mapping[str, dict[str, Tensor]] = {
        "wide": lora(Q, down=torch.rand(RANK, columns + 8)),
        "tall": lora(Q, up=torch.rand(rows + 8, RANK)),
        "ranks-differ": lora(Q, up=torch.rand(rows, RANK + 1)),
        "no-rank": {f"{q}.lora_down.weight": torch.rand(0, columns), f"{q}.lora_up.weight": torch.rand(rows, 0)},
        "down-alone": {f"{q}.lora_down.weight": down},
        "up-alone": {f"{q}.lora_up.weight": up},
        "alpha-alone": {f"{q}.alpha": torch.tensor(1.0)},
        "two-alphas": lora(Q, alpha=torch.ones(2)),
        "core-on-a-linear": lora(Q) | {f"{q}.lora_mid.weight": torch.rand(RANK, RANK, 3, 3)},
        "kernel": lora(CONV, down=torch.rand(RANK, SHAPES[CONV][1], 5, 5)),
        "magnitude": lora(Q, dora_scale=torch.rand(rows + 1, 1)),
        "magnitude-alone": {f"{q}.dora_scale": torch.rand(rows, 1)},
        "bias-of-none": lora(Q, diff_b=torch.rand(rows)),
        "bias-too-long": lora(OUT, diff_b=torch.rand(SHAPES[OUT][0] + 1)),
        "norm-too-long": {f"{kohya_name(NORM)}.w_norm": torch.rand(SHAPES[NORM][0] * 2)},
        "difference": {f"{q}.diff": torch.rand(columns + 1, rows)},
        "whole-numbers": {f"{q}.lora_down.weight": down.to(torch.int32), f"{q}.lora_up.weight": up},
        "truth-values": lora(Q, alpha=torch.tensor(True)),
        "two-ways": lora(Q, diff=torch.rand(rows, columns)),
        "twice": twice,
        "unknown-layer": lora(Q) | {"lora_unet_no_such_layer.lora_down.weight": down},
        "unknown-tensor": lora(Q) | {f"{q}.something": up},
        "encoder-too-wide": lora(TEXT, down=torch.rand(RANK, 768), up=torch.rand(768, RANK)),
        "layer-beyond-the-last": {f"{text.replace('layers_0', 'layers_99')}.lora_down.weight": down},
        "loha-half": {f"{q}.hada_w1_a": up, f"{q}.hada_w1_b": down},
        "loha-halves-differ": {
            f"{q}.hada_w1_a": up, f"{q}.hada_w1_b": down, f"{q}.hada_w2_a": up, f"{q}.hada_w2_b": torch.rand(RANK, 3),
        },
        "lokr-half": {f"{q}.lokr_w1": torch.rand(2, 2)},
        "lokr-product": {f"{q}.lokr_w1": torch.rand(3, 3), f"{q}.lokr_w2": torch.rand(7, 7)},
        "embedding-too-wide": lora(Q) | {"bundle_emb.<cat>.clip_l": torch.rand(2, WIDTH + 1)},
        "embedding-alone": {"bundle_emb.<cat>.clip_l": torch.rand(2, WIDTH)},
    }  # fmt: skip
    for name, tensors in files.items():
        yield _file(f"misfit-{name}", save({key: tensor.clone() for key, tensor in tensors.items()}))


def _families() -> Iterator[BadLora]:
    names = {
        "sd1": ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", 768),
        "sd2": ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", 1024),
        "refiner": ("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k", 1280),
        "whole-sdxl": ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k", 2048),
        "flux": ("lora_unet_double_blocks_0_img_attn_qkv", 3072),
        "sd3": ("lora_unet_joint_blocks_0_x_block_attn_qkv", 1536),
        "cascade": ("lora_prior_unet_down_blocks_0_mapper", 1536),
        "qwen": ("transformer.transformer_blocks.0.img_mlp.net.2", 3072),
        "wan": ("diffusion_model.blocks.0.self_attn.q", 5120),
        "animate": ("unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q", 320),
        "language-model": ("base_model.model.model.layers.0.self_attn.q_proj", 4096),
    }
    for name, (layer, columns) in names.items():
        tensors: dict[str, Shape] = {f"{layer}.lora_down.weight": (4, columns), f"{layer}.lora_up.weight": (320, 4)}
        yield _file(f"family-{name}", file_bytes(tensors))
    yield _file("family-checkpoint", file_bytes({"model.diffusion_model.out.2.weight": (4, 320, 3, 3)}))
    yield _file("family-embedding", file_bytes({"clip_l": (2, 768), "clip_g": (2, 1280)}))
    yield _file("family-vae", file_bytes({"decoder.conv_in.weight": (8, 4, 3, 3)}))


def _kinds() -> Iterator[BadLora]:
    kinds = (
        "oft_blocks",
        "oft_diag",
        "boft_R",
        "on_input",
        "ia3_l",
        "a1.weight",
        "set_weight",
        "vera_lambda_b",
        "lokr_t1",
    )
    for kind in kinds:
        name = f"kind-{kind.replace('.', '-').replace('_', '-')}"
        yield _file(name, file_bytes({f"{kohya_name(Q)}.{kind}": (4, 8)}))


def _numbers() -> Iterator[BadLora]:
    """Files with bad values, which only the engine reads: refused before a weight is changed."""
    rows, columns = SHAPES[Q]
    nan, infinite = float("nan"), float("inf")

    def spoilt(value: float, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        tensor = torch.rand(shape)
        tensor.view(-1)[-1] = value
        return tensor.to(dtype)

    changed: Mapping[str, dict[str, Any]] = {
        "nan-up": {"up": spoilt(nan, rows, RANK)},
        "nan-down": {"down": spoilt(nan, RANK, columns)},
        "infinite-up": {"up": spoilt(infinite, rows, RANK)},
        "minus-infinite-down": {"down": spoilt(-infinite, RANK, columns)},
        "overflown-half": {"up": spoilt(1e6, rows, RANK, dtype=torch.float16)},
        "nan-bfloat16": {"up": spoilt(nan, rows, RANK, dtype=torch.bfloat16)},
        "nan-float8": {"up": spoilt(nan, rows, RANK, dtype=torch.float8_e4m3fn)},
        "infinite-float8": {"up": spoilt(infinite, rows, RANK, dtype=torch.float8_e5m2)},
        "nan-alpha": {"alpha": torch.tensor(nan)},
        "infinite-alpha": {"alpha": torch.tensor(infinite)},
        "nan-magnitude": {"dora_scale": spoilt(nan, rows, 1)},
    }
    for name, tensors in changed.items():
        yield _file(f"numbers-{name}", save(lora(Q, **tensors)), listed=True)
    yield _file(
        "numbers-nan-text-encoder", save(lora(Q) | lora(TEXT, up=spoilt(nan, SHAPES[TEXT][0], RANK))), listed=True
    )
    word = {"bundle_emb.<cat>.clip_l": spoilt(nan, 2, WIDTH)}
    yield _file("numbers-nan-embedding", save(lora(Q) | word), listed=True)
