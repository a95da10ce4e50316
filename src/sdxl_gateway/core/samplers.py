"""Takes a sampler's name as people write it, gives the one it is served under; knows the schedules too."""

from __future__ import annotations

import re

SAMPLERS = {
    "euler": "Euler",
    "euler_a": "Euler a",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "ddim": "DDIM",
    "unipc": "UniPC",
    "lcm": "LCM",
}
"""The names samplers are served under, with the titles that image browsers know."""

NORMAL = "normal"
SCHEDULES = ("trailing", "leading", NORMAL)
"""Which training steps are taken: counted from the noisy end as few-step LoRAs are trained (999, 749, 499, 249), from
the clean end (751, 501, 251, 1), or as the checkpoint's own config says."""

_SPELLINGS = {
    "euler": ("k_euler", "euler_discrete", "EulerDiscreteScheduler", "Euler normal", "Euler simple"),
    "euler_a": (
        "k_euler_a",
        "euler_ancestral",
        "k_euler_ancestral",
        "sample_euler_ancestral",
        "EulerAncestralDiscreteScheduler",
        "Euler A normal",
    ),
    "dpmpp_2m": (
        "DPM++ 2M",
        "k_dpmpp_2m",
        "dpm_2m",
        "dpmpp",
        "DPM++",
        "dpmsolver++",
        "dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
    ),
    "dpmpp_2m_karras": (
        "DPM++ 2M Karras",
        "k_dpmpp_2m_karras",
        "k_dpmpp_2m_ka",
        "dpmpp_2m_ka",
        "DPM++ Karras",
        "dpm_2m_karras",
        "DPMSolverMultistepScheduler Karras",
    ),
    "ddim": ("DDIMScheduler", "ddim_normal", "ddim_uniform"),
    "unipc": ("uni_pc", "uni_pc_bh2", "UniPCMultistepScheduler", "unipc_multistep"),
    "lcm": ("LCMScheduler", "k_lcm", "sample_lcm", "lcm_normal"),
}


def _plain(text: str) -> str:
    """Letters and digits alone: "DPM++ 2M Karras", "dpmpp_2m-karras" and "Dpmpp2mKarras" are one spelling."""
    return re.sub(r"[^a-z0-9]", "", text.lower().replace("++", "pp"))


_CANONICAL = {_plain(spelling): name for name in SAMPLERS for spelling in (name, *_SPELLINGS[name])}


def sampler_name(text: str) -> str | None:
    """One of `SAMPLERS`, or None for a sampler that is not served. Case, spaces and punctuation do not matter."""
    return _CANONICAL.get(_plain(text))
