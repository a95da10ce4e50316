"""The demo model's architecture: SDXL's block layout at a hundredth of the width."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

HIDDEN_1 = 64
HIDDEN_2 = 96
POOLED = 96
TOKENS = 77


def new_vae() -> AutoencoderKL:
    """A factor-8 autoencoder with four latent channels."""
    return AutoencoderKL(
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=256,
        scaling_factor=1.0,
        force_upcast=False,
    )


def new_unet() -> UNet2DConditionModel:
    """A UNet in SDXL's layout: one plain block, two with cross-attention."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(32, 64, 96),
        layers_per_block=2,
        transformer_layers_per_block=[1, 1, 2],
        attention_head_dim=[2, 4, 6],
        norm_num_groups=8,
        use_linear_projection=True,
        cross_attention_dim=HIDDEN_1 + HIDDEN_2,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + POOLED,
    )


def _text_config(hidden: int, vocabulary: int, act: str, pad: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 4,
        projection_dim=POOLED,
        num_hidden_layers=3,
        num_attention_heads=hidden // 16,
        max_position_embeddings=TOKENS,
        hidden_act=act,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=pad,
    )


def new_text_encoder(vocabulary: int) -> CLIPTextModel:
    """The first, smaller text encoder."""
    return CLIPTextModel(_text_config(HIDDEN_1, vocabulary, "quick_gelu", vocabulary - 1))


def new_text_encoder_2(vocabulary: int) -> CLIPTextModelWithProjection:
    """The second text encoder, whose pooled projection also steers the UNet."""
    return CLIPTextModelWithProjection(_text_config(HIDDEN_2, vocabulary, "gelu", 0))


def new_scheduler() -> EulerDiscreteScheduler:
    """Euler steps for v-prediction on a schedule that ends in pure noise."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,
    )


def alphas_cumprod() -> torch.Tensor:
    """The training schedule's cumulative signal share, zero at the last step."""
    values: torch.Tensor = new_scheduler().alphas_cumprod.clone()
    values[-1] = 0.0
    return values
