"""The fields of sampling: steps, guidance, sampler, refiner."""

from __future__ import annotations

from sdxl_gateway.api.asks.field import Field, Kind
from sdxl_gateway.config import Limits
from sdxl_gateway.core.limits import GUIDANCE_SCALE
from sdxl_gateway.core.samplers import SAMPLERS, SCHEDULES

MAX_SEED = 2**53 - 1


def sampling_fields(limits: Limits) -> tuple[Field, ...]:
    """Rows of the table in fields.py."""
    return (
        Field(
            "steps",
            Kind.INTEGER,
            "Denoising steps.",
            aliases=("num_inference_steps", "inference_steps"),
            low=1,
            high=limits.max_steps,
            extension=True,
        ),
        Field(
            "guidance_scale",
            Kind.NUMBER,
            "Classifier-free guidance; 1 and below turns it off.",
            aliases=("cfg_scale", "cfg", "guidance"),
            low=0,
            high=GUIDANCE_SCALE,
            extension=True,
        ),
        Field(
            "seed",
            Kind.INTEGER,
            "Image i is painted from seed + i; -1 draws one.",
            low=-1,
            high=MAX_SEED,
            extension=True,
        ),
        Field(
            "sampler",
            Kind.TEXT,
            f"One of {', '.join(SAMPLERS)}, as other tools spell it too; a schedule may follow: `DPM++ 2M Karras`.",
            aliases=("sampler_name",),
            max_chars=64,
            extension=True,
        ),
        Field(
            "schedule",
            Kind.TEXT,
            f"Where the steps lie: one of {', '.join(SCHEDULES)}. `trailing` (`sgm_uniform`) begins at full noise, for "
            "few-step LoRAs; `normal` is the model's own.",
            aliases=("schedule_type", "timestep_spacing"),
            max_chars=64,
            extension=True,
        ),
        Field(
            "eta",
            Kind.NUMBER,
            "The share of fresh noise in each step of ddim and tcd.",
            low=0,
            high=1,
            extension=True,
        ),
        Field(
            "guidance_rescale",
            Kind.NUMBER,
            "How far to rescale the guided prediction to the contrast of the unguided one; for models that "
            "predict velocity.",
            low=0,
            high=1,
            extension=True,
        ),
        Field(
            "guidance_end",
            Kind.NUMBER,
            "The share of the steps, from the first, that use guidance; later ones use the prompt alone, at half "
            "the work. The model's own value when absent, else 1.",
            aliases=("cfg_end",),
            low=0,
            high=1,
            extension=True,
        ),
        Field(
            "refiner",
            Kind.SWITCH,
            "The refiner for the last steps: its name, or true for the model's own.",
            extension=True,
        ),
        Field(
            "refiner_at",
            Kind.NUMBER,
            "The share of the way from noise to picture after which the refiner takes over; 0.8 when absent.",
            low=0,
            high=1,
            extension=True,
        ),
    )
