"""Every spelling of every module of the real SDXL leads to that module, and to no other."""

from __future__ import annotations

import re

import pytest

from sdxl_gateway.catalog.lora_format.module_names import ModuleNames, sgm_names
from tests.kit.lora_files import kohya_name
from tests.kit.sdxl_shapes import convs, linears, sdxl_shapes

SHAPES = sdxl_shapes()
UNET = [name.removeprefix("unet.") for name in SHAPES if name.startswith("unet.")]
NAMES = ModuleNames(list(SHAPES))

# Written by hand from the layouts of the two UNets, not computed.
SGM_PAIRS = {
    "lora_unet_input_blocks_0_0": "conv_in",
    "lora_unet_input_blocks_1_0_in_layers_2": "down_blocks.0.resnets.0.conv1",
    "lora_unet_input_blocks_2_0_out_layers_3": "down_blocks.0.resnets.1.conv2",
    "lora_unet_input_blocks_3_0_op": "down_blocks.0.downsamplers.0.conv",
    "lora_unet_input_blocks_4_0_skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
    "lora_unet_input_blocks_4_1_proj_in": "down_blocks.1.attentions.0.proj_in",
    "lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_k": (
        "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"
    ),
    "lora_unet_input_blocks_5_1_transformer_blocks_0_ff_net_0_proj": (
        "down_blocks.1.attentions.1.transformer_blocks.0.ff.net.0.proj"
    ),
    "lora_unet_input_blocks_6_0_op": "down_blocks.1.downsamplers.0.conv",
    "lora_unet_input_blocks_7_0_emb_layers_1": "down_blocks.2.resnets.0.time_emb_proj",
    "lora_unet_input_blocks_8_1_transformer_blocks_9_attn1_to_out_0": (
        "down_blocks.2.attentions.1.transformer_blocks.9.attn1.to_out.0"
    ),
    "lora_unet_middle_block_0_in_layers_2": "mid_block.resnets.0.conv1",
    "lora_unet_middle_block_1_transformer_blocks_3_attn1_to_q": (
        "mid_block.attentions.0.transformer_blocks.3.attn1.to_q"
    ),
    "lora_unet_middle_block_2_out_layers_3": "mid_block.resnets.1.conv2",
    "lora_unet_output_blocks_0_0_skip_connection": "up_blocks.0.resnets.0.conv_shortcut",
    "lora_unet_output_blocks_2_1_proj_out": "up_blocks.0.attentions.2.proj_out",
    "lora_unet_output_blocks_2_2_conv": "up_blocks.0.upsamplers.0.conv",
    "lora_unet_output_blocks_3_1_transformer_blocks_0_attn2_to_v": (
        "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v"
    ),
    "lora_unet_output_blocks_5_2_conv": "up_blocks.1.upsamplers.0.conv",
    "lora_unet_output_blocks_8_0_in_layers_2": "up_blocks.2.resnets.2.conv1",
    "lora_unet_time_embed_0": "time_embedding.linear_1",
    "lora_unet_time_embed_2": "time_embedding.linear_2",
    "lora_unet_label_emb_0_0": "add_embedding.linear_1",
    "lora_unet_label_emb_0_2": "add_embedding.linear_2",
    "lora_unet_out_0": "conv_norm_out",
    "lora_unet_out_2": "conv_out",
}


def test_the_shape_table_is_sdxl() -> None:
    unet = {name: shape for name, shape in SHAPES.items() if name.startswith("unet.")}
    assert len(linears(unet)) == 743
    assert len(convs(unet)) == 51
    assert len([n for n in linears(unet) if re.search(r"attn[12]\.to_|ff\.net|proj_(in|out)$", n)]) == 722
    # Biases and the norms of CLIP aside, these are the sizes SDXL is known for.
    assert len(linears({n: s for n, s in SHAPES.items() if n.startswith("text_encoder.")})) == 72
    assert len(linears({n: s for n, s in SHAPES.items() if n.startswith("text_encoder_2.")})) == 193


def test_every_unet_module_has_one_sgm_name() -> None:
    pairs = list(sgm_names(UNET))
    assert {name for name, _ in pairs} == set(UNET)
    assert len({sgm for _, sgm in pairs}) == len(UNET)


@pytest.mark.parametrize("sgm", SGM_PAIRS)
def test_well_known_sgm_names(sgm: str) -> None:
    found = NAMES.find(sgm)
    assert found is not None
    assert found.module == f"unet.{SGM_PAIRS[sgm]}"


@pytest.mark.parametrize("module", ["unet", "text_encoder", "text_encoder_2"])
def test_kohya_names_lead_to_their_module_each(module: str) -> None:
    mine = [name for name in SHAPES if name.startswith(f"{module}.")]
    found = [NAMES.find(kohya_name(name)) for name in mine]
    assert [f.module for f in found if f] == mine


def test_sgm_names_lead_to_their_module_each_with_dots_and_without() -> None:
    for name, sgm in sgm_names(UNET):
        for raw in (
            f"lora_unet_{sgm.replace('.', '_')}",
            f"diffusion_model.{sgm}",
            f"model.diffusion_model.{sgm}",
            f"unet.{sgm}",
        ):
            found = NAMES.find(raw)
            assert found is not None, raw
            assert (found.module, found.spelling) == (f"unet.{name}", "sgm")


def test_dotted_names_lead_to_themselves() -> None:
    for name in SHAPES:
        for raw in (name, f"base_model.model.{name}"):
            found = NAMES.find(raw)
            assert found is not None, raw
            assert (found.module, found.spelling) == (name, "diffusers")


ENCODER = "encoder.layers.3.self_attn.q_proj"


@pytest.mark.parametrize(
    ("raw", "component"),
    [
        (f"text_encoder.text_model.{ENCODER}", "text_encoder"),
        (f"text_encoder.{ENCODER}", "text_encoder"),
        (f"clip_l.text_model.{ENCODER}", "text_encoder"),
        (f"text_encoders.clip_l.transformer.text_model.{ENCODER}", "text_encoder"),
        ("lora_te_text_model_encoder_layers_3_self_attn_q_proj", "text_encoder"),
        ("lora_te1_encoder_layers_3_self_attn_q_proj", "text_encoder"),
        ("lycoris_te1_text_model_encoder_layers_3_self_attn_q_proj", "text_encoder"),
        (f"text_encoder_2.text_model.{ENCODER}", "text_encoder_2"),
        (f"clip_g.text_model.{ENCODER}", "text_encoder_2"),
        ("lora_te2_text_model_encoder_layers_3_self_attn_q_proj", "text_encoder_2"),
        ("lycoris_text_encoder_2_text_model_encoder_layers_3_self_attn_q_proj", "text_encoder_2"),
    ],
)
def test_text_encoders_by_all_their_names(raw: str, component: str) -> None:
    found = NAMES.find(raw)
    assert found is not None
    assert found.module == f"{component}.text_model.{ENCODER}"


def test_names_without_a_prefix_belong_where_the_config_says() -> None:
    bare = f"text_model.{ENCODER}"
    assert NAMES.find(bare) is None
    found = NAMES.find(f"base_model.model.{bare}", "text_encoder_2")
    assert found is not None
    assert found.module == f"text_encoder_2.{bare}"
    bare_unet = NAMES.find("base_model.model.mid_block.resnets.0.conv1", None)
    assert bare_unet is not None
    assert bare_unet.module == "unet.mid_block.resnets.0.conv1"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "lora_unet_",
        "lora_unet_input_blocks_9_0_in_layers_2",
        "lora_unet_input_blocks_3_1_proj_in",
        "lora_unet_double_blocks_0_img_attn_qkv",
        "lora_unet_down_blocks_0_attentions_0_proj_in",
        "lora_te1_text_model_encoder_layers_12_mlp_fc1",
        "unet",
        "unet.unet.conv_in",
        "conv_in.weight",
        "text_encoder_3.text_model.encoder.layers.0.mlp.fc1",
        "../unet.conv_in",
    ],
)
def test_what_is_no_module_is_not_found(raw: str) -> None:
    assert NAMES.find(raw) is None


def test_a_deeper_unet_of_the_same_kind_has_its_own_layout() -> None:
    """Three resnets a block and no attention in the last: numbers follow from the names alone."""
    modules = [f"unet.down_blocks.{b}.resnets.{j}.conv1" for b in range(2) for j in range(3)]
    modules += ["unet.down_blocks.0.downsamplers.0.conv", "unet.up_blocks.0.upsamplers.0.conv"]
    modules += [f"unet.up_blocks.0.resnets.{j}.conv1" for j in range(4)]
    names = ModuleNames(modules)
    pairs = {
        "lora_unet_input_blocks_3_0_in_layers_2": "unet.down_blocks.0.resnets.2.conv1",
        "lora_unet_input_blocks_4_0_op": "unet.down_blocks.0.downsamplers.0.conv",
        "lora_unet_input_blocks_5_0_in_layers_2": "unet.down_blocks.1.resnets.0.conv1",
        "lora_unet_output_blocks_3_1_conv": "unet.up_blocks.0.upsamplers.0.conv",
    }
    for raw, module in pairs.items():
        found = names.find(raw)
        assert found is not None, raw
        assert found.module == module
