"""Bounds that several rooms hold a request to, and none of them decides alone."""

from __future__ import annotations

LORA_WEIGHT = 4.0
"""A LoRA's weight lies between this and its negative."""
CONTROL_WEIGHT = 2.0
"""The most a ControlNet's word may count."""
STEPS = 150
"""The most denoising steps a checkpoint, a house style or a LoRA may recommend."""
GUIDANCE_SCALE = 50.0
CLIP_SKIP = 12
"""As many layers as the smaller of SDXL's text encoders has."""
REFERENCE_WEIGHT = 2.0
"""The most a picture to be guided by may weigh; 1 is what an IP-Adapter was trained with."""
REFERENCES = 16
"""How many pictures may guide one painting."""
SHORTEST_SIDE = 64
LONGEST_SIDE = 4096
SIDE_UNIT = 8
"""Sides are multiples of it: pixels to one latent."""
ASPECT = 4
"""How many times longer than the other a side may be."""
RETRY_AFTER_SECONDS = 120.0
"""Clients give up altogether when told to stay away for longer."""
