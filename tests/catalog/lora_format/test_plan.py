"""Plans: every dialect of the real SDXL maps whole, and whatever does not fit is refused naming what and where."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdxl_gateway.catalog.lora_format.module_names import sgm_names
from sdxl_gateway.catalog.lora_format.plan import LoraPlan, plan_lora
from sdxl_gateway.catalog.safetensors_header import DTYPE_BYTES, Header, TensorInfo
from sdxl_gateway.core.errors import AdapterRefused
from tests.kit.lora_files import kohya_name, lora_tensors, make_header
from tests.kit.sdxl_shapes import convs, linears, sdxl_shapes

Shape = tuple[int, ...]
SHAPES = sdxl_shapes()
ALL = {**linears(SHAPES), **convs(SHAPES)}
ATTENTION = {name: shape for name, shape in ALL.items() if ".to_" in name or "self_attn" in name}
SGM = {f"unet.{name}": sgm for name, sgm in sgm_names([n[5:] for n in SHAPES if n.startswith("unet.")])}

TO_K = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k"
TO_Q = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
FF = "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj"
CONV = "unet.down_blocks.1.resnets.0.conv1"
NORM = "unet.mid_block.attentions.0.norm"
TEXT_Q = "text_encoder_2.text_model.encoder.layers.0.self_attn.q_proj"


def plan(tensors: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> LoraPlan:
    return plan_lora(make_header(tensors, metadata), SHAPES)


def refusal(tensors: Mapping[str, Shape], metadata: Mapping[str, str] | None = None) -> str:
    with pytest.raises(AdapterRefused) as refused:
        plan(tensors, metadata)
    return refused.value.message


def sgm_name(module: str) -> str:
    return f"lora_unet_{SGM[module].replace('.', '_')}" if module in SGM else kohya_name(module)


def old_processor_name(module: str) -> str:
    """diffusers before PEFT: attention weights under `processor`, encoders' under their layer."""
    if module.startswith("unet."):
        head, _, projection = module.rpartition(".to_")
        return f"{head}.processor.to_{projection.removesuffix('.0')}_lora"
    return f"{module}.lora_linear_layer"


def identity(module: str) -> str:
    return module


SPELLINGS: dict[str, tuple[Mapping[str, Shape], Callable[[str], str], str, str, str]] = {
    "kohya": (ALL, kohya_name, ".lora_down.weight", ".lora_up.weight", "kohya"),
    "kohya on SGM": (ALL, sgm_name, ".lora_down.weight", ".lora_up.weight", "kohya (SGM names)"),
    "PEFT": (ALL, identity, ".lora_A.weight", ".lora_B.weight", "PEFT"),
    "PEFT with adapter names": (ALL, identity, ".lora_A.default.weight", ".lora_B.default.weight", "PEFT"),
    "PEFT folder": (ALL, "base_model.model.{}".format, ".lora_A.weight", ".lora_B.weight", "PEFT"),
    "old diffusers": (ATTENTION, old_processor_name, ".down.weight", ".up.weight", "diffusers (old)"),
    "diffusers between": (ALL, identity, ".lora.down.weight", ".lora.up.weight", "diffusers (old)"),
    "dotted kohya": (ALL, identity, ".lora_down.weight", ".lora_up.weight", "kohya"),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_whole_sdxl_lora_maps_to_every_module_once(spelling: str) -> None:
    modules, name, down, up, dialect = SPELLINGS[spelling]
    tensors = lora_tensors(modules, name, down=down, up=up, alpha=None)
    found = plan(tensors)
    assert {part.module for part in found.parts} == set(modules)
    assert len(found.parts) == len(modules)
    assert found.dialect == dialect
    assert found.unmatched == ()
    used = [key for part in found.parts for key in part.tensors.values()]
    assert sorted(used) == sorted(tensors)
    for part in found.parts:
        assert part.tensors == {"down": name(part.module) + down, "up": name(part.module) + up}
        assert (part.algorithm, part.rank, part.scale) == ("lora", 4, None)


def test_one_trainer_names_with_embeddings() -> None:
    def one_trainer(module: str) -> str:
        component, _, rest = module.partition(".")
        return (
            f"unet.{SGM[module]}" if component == "unet" else f"{'clip_l' if component[-1] == 'r' else 'clip_g'}.{rest}"
        )

    tensors = lora_tensors(ALL, one_trainer) | {
        "bundle_emb.my.token.clip_l": (2, 768),
        "bundle_emb.my.token.clip_g": (2, 1280),
        "bundle_emb.other.clip_g_out": (1, 1280),
    }
    found = plan(tensors)
    assert found.dialect == "OneTrainer"
    assert {part.module for part in found.parts} == set(ALL)
    assert found.tokens == {
        "my.token": {"clip_l": "bundle_emb.my.token.clip_l", "clip_g": "bundle_emb.my.token.clip_g"},
    }
    assert found.unmatched == ("bundle_emb.other.clip_g_out",)


@pytest.mark.parametrize(
    ("key", "shape", "dtype", "message"),
    [
        ("bundle_emb.<cat>.clip_l", (2, 1280), "F16", "'<cat>' is 2x1280 for clip_l, where words are 768 wide"),
        ("bundle_emb.<cat>.clip_g", (768,), "F16", "'<cat>' is 768 for clip_g, where words are 1280 wide"),
        ("bundle_emb.<cat>.clip_g", (1, 2, 1280), "F16", "'<cat>'"),
        ("bundle_emb.<cat>.clip_g", (0, 1280), "F16", "'<cat>'"),
        ("bundle_emb.<cat>.clip_l", (2, 768), "I8", "'<cat>' holds I8"),
        ("bundle_emb. .clip_l", (2, 768), "F16", "without a name"),
    ],
)
def test_embeddings_that_no_encoder_can_read(key: str, shape: Shape, dtype: str, message: str) -> None:
    factors = make_header(lora_tensors({TO_Q: (1280, 1280)}))
    end = factors.data_bytes + prod(shape) * DTYPE_BYTES[dtype]
    header = Header({**factors.tensors, key: TensorInfo(dtype, shape, factors.data_bytes, end)})
    with pytest.raises(AdapterRefused, match=message):
        plan_lora(header, SHAPES)


def test_old_text_encoder_names() -> None:
    raw = "text_encoder_2.text_model.encoder.layers.0.self_attn.to_q_lora"
    out = "text_encoder_2.text_model.encoder.layers.0.self_attn.to_out_lora"
    found = plan(
        {f"{raw}.down.weight": (4, 1280), f"{raw}.up.weight": (1280, 4)}
        | {f"{out}.down.weight": (4, 1280), f"{out}.up.weight": (1280, 4)}
    )
    assert [part.module for part in found.parts] == [TEXT_Q, TEXT_Q.replace("q_proj", "out_proj")]


LAYERS: dict[str, tuple[str, dict[str, Shape], str, dict[str, str]]] = {
    "LoRA with alpha": (
        FF,
        {".lora_down.weight": (8, 1280), ".lora_up.weight": (10240, 8), ".alpha": (1,)},
        "lora",
        {"down": ".lora_down.weight", "up": ".lora_up.weight", "alpha": ".alpha"},
    ),
    "LoRA of a linear stored as a convolution": (
        TO_Q,
        {".lora_down.weight": (8, 1280, 1, 1), ".lora_up.weight": (1280, 8, 1, 1)},
        "lora",
        {"down": ".lora_down.weight", "up": ".lora_up.weight"},
    ),
    "LoCon": (
        CONV,
        {".lora_down.weight": (8, 320, 3, 3), ".lora_up.weight": (640, 8, 1, 1)},
        "lora",
        {"down": ".lora_down.weight", "up": ".lora_up.weight"},
    ),
    "LoCon with a core tensor": (
        CONV,
        {".lora_down.weight": (8, 320, 1, 1), ".lora_mid.weight": (6, 8, 3, 3), ".lora_up.weight": (640, 6, 1, 1)},
        "lora",
        {"down": ".lora_down.weight", "mid": ".lora_mid.weight", "up": ".lora_up.weight"},
    ),
    "DoRA": (
        TO_K,
        {".lora_down.weight": (8, 2048), ".lora_up.weight": (1280, 8), ".dora_scale": (1280, 1)},
        "lora",
        {"down": ".lora_down.weight", "up": ".lora_up.weight", "dora_scale": ".dora_scale"},
    ),
    "DoRA by input": (
        TO_K,
        {".lora_down.weight": (8, 2048), ".lora_up.weight": (1280, 8), ".dora_scale": (1, 2048)},
        "lora",
        {"down": ".lora_down.weight", "up": ".lora_up.weight", "dora_scale": ".dora_scale"},
    ),
    "PEFT DoRA": (
        CONV,
        {".lora_A.weight": (8, 320, 3, 3), ".lora_B.weight": (640, 8, 1, 1), ".lora_magnitude_vector": (1, 640, 1, 1)},
        "lora",
        {"down": ".lora_A.weight", "up": ".lora_B.weight", "dora_scale": ".lora_magnitude_vector"},
    ),
    "PEFT DoRA with an adapter's name": (
        FF,
        {
            ".lora_A.default.weight": (8, 1280),
            ".lora_B.default.weight": (10240, 8),
            ".lora_magnitude_vector.default.weight": (10240,),
        },
        "lora",
        {
            "down": ".lora_A.default.weight",
            "up": ".lora_B.default.weight",
            "dora_scale": ".lora_magnitude_vector.default.weight",
        },
    ),
    "PEFT with a bias": (
        FF,
        {".lora_A.weight": (8, 1280), ".lora_B.weight": (10240, 8), ".lora_B.bias": (10240,)},
        "lora",
        {"down": ".lora_A.weight", "up": ".lora_B.weight", "bias": ".lora_B.bias"},
    ),
    "LoHa": (
        FF,
        {".hada_w1_a": (10240, 4), ".hada_w1_b": (4, 1280), ".hada_w2_a": (10240, 4), ".hada_w2_b": (4, 1280)},
        "loha",
        {"w1_a": ".hada_w1_a", "w1_b": ".hada_w1_b", "w2_a": ".hada_w2_a", "w2_b": ".hada_w2_b"},
    ),
    "LoHa of a convolution, flattened": (
        CONV,
        {".hada_w1_a": (640, 4), ".hada_w1_b": (4, 2880), ".hada_w2_a": (640, 4), ".hada_w2_b": (4, 2880)},
        "loha",
        {"w1_a": ".hada_w1_a", "w1_b": ".hada_w1_b", "w2_a": ".hada_w2_a", "w2_b": ".hada_w2_b"},
    ),
    "LoHa with core tensors": (
        CONV,
        {
            ".hada_t1": (4, 4, 3, 3), ".hada_w1_a": (4, 640), ".hada_w1_b": (4, 320),
            ".hada_t2": (4, 4, 3, 3), ".hada_w2_a": (4, 640), ".hada_w2_b": (4, 320),
        },
        "loha",
        {
            "t1": ".hada_t1", "w1_a": ".hada_w1_a", "w1_b": ".hada_w1_b",
            "t2": ".hada_t2", "w2_a": ".hada_w2_a", "w2_b": ".hada_w2_b",
        },
    ),
    "LoKr of whole factors": (
        FF, {".lokr_w1": (8, 8), ".lokr_w2": (1280, 160)}, "lokr", {"w1": ".lokr_w1", "w2": ".lokr_w2"}
    ),
    "LoKr with the second in factors": (
        FF,
        {".lokr_w1": (8, 8), ".lokr_w2_a": (1280, 4), ".lokr_w2_b": (4, 160), ".alpha": ()},
        "lokr",
        {"w1": ".lokr_w1", "w2_a": ".lokr_w2_a", "w2_b": ".lokr_w2_b", "alpha": ".alpha"},
    ),
    "LoKr with both in factors": (
        FF,
        {".lokr_w1_a": (8, 2), ".lokr_w1_b": (2, 8), ".lokr_w2_a": (1280, 4), ".lokr_w2_b": (4, 160)},
        "lokr",
        {"w1_a": ".lokr_w1_a", "w1_b": ".lokr_w1_b", "w2_a": ".lokr_w2_a", "w2_b": ".lokr_w2_b"},
    ),
    "LoKr with the first in factors": (
        FF,
        {".lokr_w1_a": (8, 2), ".lokr_w1_b": (2, 8), ".lokr_w2": (1280, 160)},
        "lokr",
        {"w1_a": ".lokr_w1_a", "w1_b": ".lokr_w1_b", "w2": ".lokr_w2"},
    ),
    "LoKr of a convolution": (
        CONV, {".lokr_w1": (16, 8), ".lokr_w2": (40, 40, 3, 3)}, "lokr", {"w1": ".lokr_w1", "w2": ".lokr_w2"}
    ),
    "LoKr of a convolution, flattened": (
        CONV,
        {".lokr_w1": (16, 8), ".lokr_w2_a": (40, 4), ".lokr_w2_b": (4, 360)},
        "lokr",
        {"w1": ".lokr_w1", "w2_a": ".lokr_w2_a", "w2_b": ".lokr_w2_b"},
    ),
    "LoKr with a core tensor": (
        CONV,
        {".lokr_w1": (16, 8), ".lokr_t2": (4, 4, 3, 3), ".lokr_w2_a": (4, 40), ".lokr_w2_b": (4, 40)},
        "lokr",
        {"w1": ".lokr_w1", "t2": ".lokr_t2", "w2_a": ".lokr_w2_a", "w2_b": ".lokr_w2_b"},
    ),
    "LoKr with a magnitude": (
        FF,
        {".lokr_w1": (8, 8), ".lokr_w2": (1280, 160), ".dora_scale": (10240, 1)},
        "lokr",
        {"w1": ".lokr_w1", "w2": ".lokr_w2", "dora_scale": ".dora_scale"},
    ),
    "full difference": (
        CONV, {".diff": (640, 320, 3, 3), ".diff_b": (640,)}, "full", {"diff": ".diff", "diff_b": ".diff_b"}
    ),
    "norm": (NORM, {".w_norm": (1280,), ".b_norm": (1280,)}, "full", {"diff": ".w_norm", "diff_b": ".b_norm"}),
    "bias alone": (FF, {".diff_b": (10240,)}, "full", {"diff_b": ".diff_b"}),
    "LoRA with a bias difference": (
        FF,
        {".lora_down.weight": (8, 1280), ".lora_up.weight": (10240, 8), ".diff_b": (10240,)},
        "lora",
        {"down": ".lora_down.weight", "up": ".lora_up.weight", "diff_b": ".diff_b"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", [kohya_name, identity], ids=["kohya", "dotted"])
def test_every_algorithm_has_its_roles(layer: str, name: Callable[[str], str]) -> None:
    module, shapes, algorithm, roles = LAYERS[layer]
    found = plan({name(module) + suffix: shape for suffix, shape in shapes.items()})
    assert len(found.parts) == 1
    part = found.parts[0]
    assert (part.module, part.algorithm) == (module, algorithm)
    assert part.tensors == {role: name(module) + suffix for role, suffix in roles.items()}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_shape_is_checked(layer: str) -> None:
    """A tensor that is one larger in any direction is refused, naming the layer."""
    module, shapes, _, _ = LAYERS[layer]
    for suffix, shape in shapes.items():
        for side in range(len(shape)):
            wrong = {**shapes, suffix: (*shape[:side], shape[side] + 1, *shape[side + 1 :])}
            tensors = {module + s: w for s, w in wrong.items()}
            if module == TO_K and side == 1 and "down" in suffix:
                assert "text features 2049 wide" in refusal(tensors)
                continue
            assert module in refusal(tensors), (suffix, side)


def test_a_wrong_shape_is_told_with_both_shapes() -> None:
    message = refusal({f"{FF}.lora_A.weight": (4, 640), f"{FF}.lora_B.weight": (5120, 4)})
    assert FF in message
    assert "5120x640" in message
    assert "10240x1280" in message


def test_every_tensor_left_out_is_missed() -> None:
    optional = (".alpha", ".dora_scale", ".lora_mid.weight", ".lora_B.bias", ".diff_b", ".b_norm", "magnitude")
    for module, shapes, _, _ in LAYERS.values():
        for left_out in shapes:
            if not any(word in left_out for word in optional) and len(shapes) > 1 and ".diff_b" not in shapes:
                rest = {module + suffix: shape for suffix, shape in shapes.items() if suffix != left_out}
                if list(shapes) != [".w_norm", ".b_norm"]:
                    assert module in refusal(rest), left_out


@pytest.mark.parametrize(
    ("family", "tensors"),
    [
        ("Stable Diffusion 1.x", {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k": 768}),
        ("Stable Diffusion 1.x", {"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v": 768}),
        ("Stable Diffusion 2.x", {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k": 1024}),
        ("the SDXL refiner", {"lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k": 1280}),
        ("Flux", {"lora_unet_double_blocks_0_img_attn_qkv": 3072}),
        ("Flux", {"lora_unet_single_blocks_12_linear1": 3072}),
        ("Flux", {"transformer.single_transformer_blocks.3.attn.to_q": 3072}),
        ("Flux", {"diffusion_model.double_blocks.0.img_attn.proj": 3072}),
        ("Stable Diffusion 3", {"lora_unet_joint_blocks_0_x_block_attn_qkv": 1536}),
        ("Stable Diffusion 3", {"transformer.transformer_blocks.0.attn.add_k_proj": 1536}),
        ("Stable Cascade", {"lora_prior_unet_down_blocks_0_mapper": 1536}),
        ("Qwen-Image", {"transformer.transformer_blocks.0.img_mlp.net.2": 3072}),
        ("diffusion transformer", {"diffusion_model.layers.0.attention.to_q": 3840}),
        ("diffusion transformer", {"lora_unet_blocks_0_self_attn_q": 5120}),
        ("T5", {"lora_te3_encoder_block_0_layer_0_SelfAttention_k": 4096}),
        ("video", {"unet.down_blocks.0.motion_modules.0.transformer_blocks.0.attn1.to_q": 320}),
    ],
)
def test_another_family_is_named(family: str, tensors: dict[str, int]) -> None:
    files: dict[str, Shape] = {}
    for name, inputs in tensors.items():
        down, up = (".lora_down.weight", ".lora_up.weight") if "lora_" in name else (".lora_A.weight", ".lora_B.weight")
        files |= {name + down: (4, inputs), name + up: (320, 4)}
    assert family in refusal(files)


def test_what_the_file_says_of_itself_helps_when_nothing_else_tells() -> None:
    tensors = lora_tensors({"unet.down_blocks.0.attentions.0.proj_in": (320, 320, 1, 1)})
    message = refusal(tensors, {"ss_base_model_version": "sd_v1"})
    assert "Stable Diffusion 1.x" in message
    assert "lora_unet_down_blocks_0_attentions_0_proj_in" in message


@pytest.mark.parametrize(
    ("kind", "suffix", "shape"),
    [
        ("OFT", ".oft_blocks", (4, 320, 320)),
        ("OFT", ".oft_diag", (4, 320, 320)),
        ("BOFT", ".boft_R", (4, 320, 320)),
        ("IA3", ".on_input", ()),
        ("IA3", ".ia3_l", (1280, 1)),
        ("GLoRA", ".a1.weight", (4, 1280)),
        ("weight replacement", ".set_weight", (1280, 1280)),
        ("weight replacement", ".modules_to_save.default.weight", (1280, 1280)),
        ("VeRA", ".vera_lambda_b", (1280,)),
    ],
)
def test_an_algorithm_that_is_not_spoken_is_named(kind: str, suffix: str, shape: Shape) -> None:
    assert kind in refusal({TO_Q + suffix: shape})


def test_a_file_that_fits_only_in_part_is_refused_with_the_names() -> None:
    tensors = lora_tensors({TO_Q: (1280, 1280), FF: (10240, 1280)})
    strange = {f"lora_unet_strange_{i}": (8, 8) for i in range(5)}
    tensors |= lora_tensors(strange, identity)
    message = refusal(tensors)
    assert "5 of the file's 7 layers" in message
    assert "'lora_unet_strange_0'" in message
    assert "and 2 more" in message
    assert len(message) < 700


def test_names_in_messages_are_cut() -> None:
    assert len(refusal({"x" * 500: (1,)})) < 300


def test_nothing_matched() -> None:
    assert "Nothing in this file fits" in refusal({"something.else": (3,)})
    assert "Nothing in this file changes" in refusal({"bundle_emb.token.clip_l": (2, 768)})


def test_known_extras_are_reported_and_harm_nothing() -> None:
    found = plan(lora_tensors({TO_Q: (1280, 1280)}) | {"global_step": (1,), "emb_params": (3, 768)})
    assert found.unmatched == ("global_step", "emb_params")


def test_one_layer_under_two_names_is_refused() -> None:
    tensors = lora_tensors({TO_Q: (1280, 1280)}) | lora_tensors({TO_Q: (1280, 1280)}, sgm_name)
    assert "twice" in refusal(tensors)


def test_one_layer_in_two_ways_is_refused() -> None:
    tensors = lora_tensors({TO_Q: (1280, 1280)}) | {f"{kohya_name(TO_Q)}.diff": (1280, 1280)}
    assert "two ways" in refusal(tensors)


@pytest.mark.parametrize("module", [TO_Q, "text_encoder_2.text_projection"])
def test_a_bias_for_a_layer_without_one_is_refused(module: str) -> None:
    assert "has none" in refusal({f"{module}.diff_b": (1280,)})


def test_empty_factors_are_refused() -> None:
    assert "empty" in refusal({f"{TO_Q}.lora_A.weight": (0, 1280), f"{TO_Q}.lora_B.weight": (1280, 0)})


def test_whole_numbers_are_no_factors() -> None:
    header = make_header({f"{TO_Q}.lora_A.weight": (4, 1280), f"{TO_Q}.lora_B.weight": (1280, 4)}, dtype="I8")
    with pytest.raises(AdapterRefused, match="not real numbers"):
        plan_lora(header, SHAPES)


def peft(*modules: str, rank: int = 8) -> dict[str, Shape]:
    shapes = {module: SHAPES[module] for module in modules}
    return lora_tensors(shapes, identity, rank=rank, down=".lora_A.weight", up=".lora_B.weight", alpha=None)


def scales(tensors: Mapping[str, Shape], metadata: dict[str, str]) -> dict[str, float | None]:
    return {part.module: part.scale for part in plan(tensors, metadata).parts}


def folder(config: object) -> dict[str, str]:
    return {"adapter_config": json.dumps({"": config})}


def test_scales_from_a_peft_folder() -> None:
    assert scales(peft(TO_Q), folder({"r": 8, "lora_alpha": 4})) == {TO_Q: 0.5}
    assert scales(peft(TO_Q, rank=16), folder({"r": 16, "lora_alpha": 4, "use_rslora": True})) == {TO_Q: 1.0}


def test_scales_by_pattern_the_first_that_fits_the_end_of_the_name() -> None:
    config = {"r": 8, "lora_alpha": 8, "alpha_pattern": {"attn2.to_k": 2, "ff\\.net\\.0\\.proj": 4, "^to_q": 1, "q": 1}}
    assert scales(peft(TO_Q, TO_K, FF), folder(config)) == {TO_Q: 1.0, TO_K: 0.25, FF: 0.5}


def test_an_anchored_pattern_means_the_whole_name() -> None:
    inner = TO_Q.removeprefix("unet.")
    config = {"r": 8, "lora_alpha": 8, "alpha_pattern": {f"^{inner}": 4, "^to_k": 2, "^attn2.to_k": 2}}
    assert scales(peft(TO_Q, TO_K), folder(config)) == {TO_Q: 0.5, TO_K: 1.0}


def test_scales_from_diffusers_metadata_by_component() -> None:
    config = {"unet.r": 8, "unet.lora_alpha": 16, "text_encoder_2.r": 8, "text_encoder_2.lora_alpha": 4}
    found = scales(peft(TO_Q, TEXT_Q), {"lora_adapter_metadata": json.dumps(config)})
    assert found == {TO_Q: 2.0, TEXT_Q: 0.5}


def test_an_alpha_in_the_file_beats_the_config() -> None:
    tensors = peft(TO_Q) | {f"{TO_Q}.alpha": ()}
    assert scales(tensors, folder({"r": 8, "lora_alpha": 4})) == {TO_Q: None}


def test_the_folder_says_which_encoder_it_is_for() -> None:
    bare = "base_model.model.text_model.encoder.layers.0.self_attn.q_proj"
    tensors = {f"{bare}.lora_A.weight": (4, 1280), f"{bare}.lora_B.weight": (1280, 4)}
    config = {"r": 4, "lora_alpha": 4, "auto_mapping": {"base_model_class": "CLIPTextModelWithProjection"}}
    assert [part.module for part in plan(tensors, folder(config)).parts] == [TEXT_Q]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "not a JSON object"),
        ({"peft_type": "IA3"}, "'IA3'"),
        ({"bias": "all"}, "biases"),
        ({"modules_to_save": ["conv_in"]}, "whole layers"),
        ({"fan_in_fan_out": True}, "transposed"),
        ({"init_lora_weights": "pissa_niter_4"}, "changed base weights"),
        ({"r": 8, "lora_alpha": 0}, "not a positive number"),
        ({"lora_alpha": True}, "not a positive number"),
        ({"lora_alpha": float("inf")}, "not a positive number"),
        ({"lora_alpha": float("nan")}, "not a positive number"),
        ({"lora_alpha": 10**400}, "not a positive number"),
        ({"alpha_pattern": {"(a+)+$": 4}}, "plain module names"),
        ({"alpha_pattern": [1]}, "not a JSON object"),
    ],
)
def test_configs_that_would_mean_something_else_are_refused(config: object, words: str) -> None:
    assert words in refusal(peft(TO_Q), folder(config))


def test_a_broken_config_is_refused() -> None:
    assert "not valid JSON" in refusal(peft(TO_Q), {"adapter_config": "{"})
    assert "not a JSON object" in refusal(peft(TO_Q), {"lora_adapter_metadata": "[]"})


def test_a_peft_lokr_of_whole_factors_is_refused_since_its_scale_is_unknown() -> None:
    tensors = {f"{FF}.lokr_w1": (8, 8), f"{FF}.lokr_w2": (1280, 160)}
    assert "scale" in refusal(tensors, folder({"peft_type": "LOKR", "r": 8, "alpha": 4}))


def test_a_smaller_model_of_the_kind_is_told_its_own_width() -> None:
    shapes = {name: tuple(side // 4 if side > 4 else side for side in shape) for name, shape in SHAPES.items()}
    header = make_header({f"{TO_K}.lora_A.weight": (4, 2048), f"{TO_K}.lora_B.weight": (1280, 4)})
    with pytest.raises(AdapterRefused, match=r"made for SDXL, .*2048 wide, the checkpoint's 512"):
        plan_lora(header, shapes)


def test_a_magnitude_lying_down_is_by_input_only() -> None:
    factors = {f"{TO_K}.lora_A.weight": (8, 2048), f"{TO_K}.lora_B.weight": (1280, 8)}
    assert "magnitude" in refusal({**factors, f"{TO_K}.dora_scale": (1, 1280)})
    assert "magnitude" in refusal({**factors, f"{TO_K}.dora_scale": (2048,)})
    assert "magnitude" in refusal({**factors, f"{TO_K}.dora_scale": ()})


LAYER_NAMES = st.sampled_from([TO_Q, TO_K, FF, CONV, NORM, TEXT_Q, "unet.nothing", ""])
SUFFIXES = st.sampled_from(sorted({suffix for _, shapes, _, _ in LAYERS.values() for suffix in shapes} | {".odd", ""}))
SIDES = st.lists(st.sampled_from([0, 1, 3, 4, 320, 640, 1280, 2048]), max_size=5).map(tuple)
SMALL = {name: SHAPES[name] for name in (TO_Q, TO_K, FF, CONV, NORM, TEXT_Q)}
TENSORS = st.dictionaries(st.builds(str.__add__, LAYER_NAMES, SUFFIXES), SIDES, max_size=8)


@settings(deadline=None, max_examples=150)
@given(tensors=TENSORS, metadata=st.dictionaries(st.sampled_from(["adapter_config", "ss_v2"]), st.text(max_size=20)))
def test_any_header_is_planned_or_refused_and_nothing_else(tensors: dict[str, Shape], metadata: dict[str, str]) -> None:
    try:
        found = plan_lora(make_header(tensors, metadata), SMALL)
    except AdapterRefused:
        return
    assert found.parts


def test_an_alpha_may_be_a_whole_number() -> None:
    """Trainers that register it as an integer and save without a conversion leave it one."""
    factors = make_header({f"{TO_Q}.lora_down.weight": (4, 1280), f"{TO_Q}.lora_up.weight": (1280, 4)})
    alpha = TensorInfo("I64", (), factors.data_bytes, factors.data_bytes + 8)
    found = plan_lora(Header({**factors.tensors, f"{TO_Q}.alpha": alpha}), SHAPES)
    assert found.parts[0].tensors["alpha"] == f"{TO_Q}.alpha"


def test_an_alpha_is_no_truth_value() -> None:
    factors = make_header({f"{TO_Q}.lora_down.weight": (4, 1280), f"{TO_Q}.lora_up.weight": (1280, 4)})
    alpha = TensorInfo("BOOL", (), factors.data_bytes, factors.data_bytes + 1)
    with pytest.raises(AdapterRefused, match=r"'alpha' for the layer .* holds BOOL"):
        plan_lora(Header({**factors.tensors, f"{TO_Q}.alpha": alpha}), SHAPES)
