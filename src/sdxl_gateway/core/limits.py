"""Limits of requests that several rooms use."""

from __future__ import annotations

LORA_WEIGHT = 4.0
"""A LoRA's weight lies between this and its negative."""
CONTROL_WEIGHT = 2.0
"""The largest weight of a ControlNet."""
STEPS = 150
"""The most denoising steps a checkpoint, a house style or a LoRA may recommend."""
GUIDANCE_SCALE = 50.0
CLIP_SKIP = 12
"""As many layers as the smaller of SDXL's text encoders has."""
REFERENCE_WEIGHT = 2.0
"""The largest weight of a reference picture; 1 is what an IP-Adapter was trained with."""
REFERENCES = 16
"""The most reference pictures of a request."""
SHORTEST_SIDE = 64
LONGEST_SIDE = 4096
SIDE_UNIT = 8
"""Sides are multiples of this: the pixels of one latent."""
ASPECT = 4
"""The largest ratio of the longer side to the shorter."""
RETRY_AFTER_SECONDS = 120.0
"""The longest Retry-After; clients give up when told to wait longer."""
