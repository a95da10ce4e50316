"""The names and weight shapes of the real SDXL base model, built from its block layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Shape = tuple[int, ...]
CHANNELS = (320, 640, 1280)
TRANSFORMER_LAYERS = (0, 2, 10)
CROSS_ATTENTION = 2048
TIME_CHANNELS = 1280

SDXL_SCHEDULER: dict[str, Any] = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
REFINER_UNET: dict[str, Any] = {
    "sample_size": 128,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (384, 768, 1536, 1536),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": 4,
    "attention_head_dim": (6, 12, 24, 24),
    "cross_attention_dim": 1280,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2560,
    "use_linear_projection": True,
}
"""The config of stabilityai/stable-diffusion-xl-refiner-1.0."""
REFINER_TEXT: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}


def _resnet(prefix: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{prefix}.norm1", (inputs,)
    yield f"{prefix}.conv1", (outputs, inputs, 3, 3)
    yield f"{prefix}.time_emb_proj", (outputs, TIME_CHANNELS)
    yield f"{prefix}.norm2", (outputs,)
    yield f"{prefix}.conv2", (outputs, outputs, 3, 3)
    if inputs != outputs:
        yield f"{prefix}.conv_shortcut", (outputs, inputs, 1, 1)


def _attention(prefix: str, width: int, context: int) -> Iterator[tuple[str, Shape]]:
    yield f"{prefix}.to_q", (width, width)
    yield f"{prefix}.to_k", (width, context)
    yield f"{prefix}.to_v", (width, context)
    yield f"{prefix}.to_out.0", (width, width)


def _transformer(prefix: str, width: int, layers: int) -> Iterator[tuple[str, Shape]]:
    yield f"{prefix}.norm", (width,)
    yield f"{prefix}.proj_in", (width, width)
    yield f"{prefix}.proj_out", (width, width)
    for i in range(layers):
        block = f"{prefix}.transformer_blocks.{i}"
        for n in (1, 2, 3):
            yield f"{block}.norm{n}", (width,)
        yield from _attention(f"{block}.attn1", width, width)
        yield from _attention(f"{block}.attn2", width, CROSS_ATTENTION)
        yield f"{block}.ff.net.0.proj", (8 * width, width)
        yield f"{block}.ff.net.2", (width, 4 * width)


def _down() -> Iterator[tuple[str, Shape]]:
    inputs = CHANNELS[0]
    for b, outputs in enumerate(CHANNELS):
        for j in range(2):
            yield from _resnet(f"down_blocks.{b}.resnets.{j}", inputs if j == 0 else outputs, outputs)
            if TRANSFORMER_LAYERS[b]:
                yield from _transformer(f"down_blocks.{b}.attentions.{j}", outputs, TRANSFORMER_LAYERS[b])
        if b < 2:
            yield f"down_blocks.{b}.downsamplers.0.conv", (outputs, outputs, 3, 3)
        inputs = outputs


def _mid() -> Iterator[tuple[str, Shape]]:
    yield from _resnet("mid_block.resnets.0", 1280, 1280)
    yield from _transformer("mid_block.attentions.0", 1280, TRANSFORMER_LAYERS[-1])
    yield from _resnet("mid_block.resnets.1", 1280, 1280)


SKIPS = ((1280, 1280, 640), (640, 640, 320), (320, 320, 320))


def _up() -> Iterator[tuple[str, Shape]]:
    inputs = 1280
    for b, outputs in enumerate(reversed(CHANNELS)):
        for j in range(3):
            yield from _resnet(f"up_blocks.{b}.resnets.{j}", inputs + SKIPS[b][j], outputs)
            inputs = outputs
            if TRANSFORMER_LAYERS[2 - b]:
                yield from _transformer(f"up_blocks.{b}.attentions.{j}", outputs, TRANSFORMER_LAYERS[2 - b])
        if b < 2:
            yield f"up_blocks.{b}.upsamplers.0.conv", (outputs, outputs, 3, 3)


def unet_shapes() -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        "conv_in": (320, 4, 3, 3),
        "time_embedding.linear_1": (1280, 320),
        "time_embedding.linear_2": (1280, 1280),
        "add_embedding.linear_1": (1280, 2816),
        "add_embedding.linear_2": (1280, 1280),
        "conv_norm_out": (320,),
        "conv_out": (4, 320, 3, 3),
    }
    return shapes | dict(_down()) | dict(_mid()) | dict(_up())


def _clip(width: int, layers: int) -> Iterator[tuple[str, Shape]]:
    yield "text_model.embeddings.token_embedding", (49408, width)
    yield "text_model.embeddings.position_embedding", (77, width)
    yield "text_model.final_layer_norm", (width,)
    for i in range(layers):
        layer = f"text_model.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{layer}.self_attn.{name}", (width, width)
        yield f"{layer}.mlp.fc1", (4 * width, width)
        yield f"{layer}.mlp.fc2", (width, 4 * width)
        yield f"{layer}.layer_norm1", (width,)
        yield f"{layer}.layer_norm2", (width,)


def sdxl_shapes() -> dict[str, Shape]:
    """Component-prefixed module name to weight shape: UNet and both text encoders."""
    shapes = {f"unet.{name}": shape for name, shape in unet_shapes().items()}
    shapes |= {f"text_encoder.{name}": shape for name, shape in _clip(768, 12)}
    shapes |= {f"text_encoder_2.{name}": shape for name, shape in _clip(1280, 32)}
    shapes["text_encoder_2.text_projection"] = (1280, 1280)
    return shapes


def linears(shapes: dict[str, Shape]) -> dict[str, Shape]:
    return {n: s for n, s in shapes.items() if len(s) == 2 and not n.endswith("_embedding")}


def convs(shapes: dict[str, Shape]) -> dict[str, Shape]:
    return {n: s for n, s in shapes.items() if len(s) == 4}
