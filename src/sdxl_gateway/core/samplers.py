"""The samplers and schedules that are served, by the names that people write."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

NORMAL, KARRAS, EXPONENTIAL, BETA = "normal", "karras", "exponential", "beta"
TRAILING, LEADING = "trailing", "leading"
NEAR = 3
"""How many similar names are suggested for an unknown one."""
_NEAR_ENOUGH = 0.4

SCHEDULES: Mapping[str, tuple[str, ...]] = {
    NORMAL: ("automatic", "default", "uniform"),
    KARRAS: ("ka",),
    EXPONENTIAL: ("exp",),
    BETA: (),
    TRAILING: ("sgm_uniform", "simple"),
    LEADING: ("ddim_uniform",),
}
"""The schedules of steps, with their other spellings: as in the checkpoint's config; by noise levels, spaced in one of
three ways; by training steps counted from the noisy end, as few-step models are trained (999, 749, 499, 249), or from
the clean end (751, 501, 251, 1)."""

_SPACED = (NORMAL, TRAILING, LEADING)
_BY_NOISE = (NORMAL, KARRAS, EXPONENTIAL, BETA)
_ALL = tuple(SCHEDULES)


@dataclass(frozen=True, slots=True)
class Sampler:
    """`title` is what image browsers know it by, `schedules` are those that diffusers has for it.

    `order` is the UNet's calls for a step, the last of which takes one; `repeats` adds one to a run of several steps.
    `takes_eta` says that the share of fresh noise can be chosen.
    """

    title: str
    schedules: tuple[str, ...]
    spellings: tuple[str, ...] = ()
    order: int = 1
    repeats: bool = False
    takes_eta: bool = False

    def unet_calls(self, steps: int, taken: int) -> int:
        """The UNet calls of the last `taken` steps of a run of `steps`."""
        repeated = 1 if self.repeats and steps > 1 else 0
        return taken * self.order - (self.order - 1) + repeated


SAMPLERS: Mapping[str, Sampler] = {
    "euler": Sampler("Euler", _ALL, ("euler_discrete",)),
    "euler_a": Sampler("Euler a", _SPACED, ("euler_ancestral", "euler_ancestral_discrete")),
    "heun": Sampler("Heun", _ALL, ("heun_discrete",), order=2),
    "dpm_2": Sampler("DPM2", _ALL, ("kdpm_2", "kdpm_2_discrete"), order=2),
    "dpm_2_a": Sampler(
        "DPM2 a", _ALL, ("dpm_2_ancestral", "kdpm_2_a", "kdpm_2_ancestral", "kdpm_2_ancestral_discrete"), order=2
    ),
    "lms": Sampler("LMS", _ALL, ("lms_discrete",)),
    "dpmpp_2m": Sampler("DPM++ 2M", _ALL, ("dpm_2m", "dpmpp", "dpmsolver++", "dpmsolver_multistep")),
    "dpmpp_2m_sde": Sampler("DPM++ 2M SDE", _ALL, ("dpmpp_2m_sde_gpu", "sde-dpmsolver++")),
    "dpmpp_2m_sde_heun": Sampler("DPM++ 2M SDE Heun", _ALL, ("dpmpp_2m_sde_heun_gpu",)),
    "dpmpp_3m_sde": Sampler("DPM++ 3M SDE", _ALL, ("dpmpp_3m_sde_gpu",)),
    "dpmpp_2s": Sampler("DPM++ 2S", _BY_NOISE, ("dpmsolver_singlestep",)),
    "dpmpp_sde": Sampler("DPM++ SDE", _BY_NOISE, ("dpmpp_sde_gpu",)),
    "ddim": Sampler("DDIM", _SPACED, takes_eta=True),
    "ddpm": Sampler("DDPM", _SPACED),
    "pndm": Sampler("PLMS", _SPACED, repeats=True),
    "unipc": Sampler("UniPC", _ALL, ("uni_pc", "uni_pc_bh2", "unipc_multistep")),
    "deis": Sampler("DEIS", _ALL, ("deis_multistep",)),
    "lcm": Sampler("LCM", (NORMAL, TRAILING)),
    "tcd": Sampler("TCD", (NORMAL, TRAILING), takes_eta=True),
}
"""The samplers by name; each is a class of diffusers."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """The name of one of SAMPLERS, and the schedule that was given with it, if any."""

    sampler: str
    schedule: str | None = None


def _plain(text: str) -> str:
    """The name's letters and digits only: "DPM++ 2M Karras", "k_dpmpp_2m-karras" and "Dpmpp2mKarras" are the same."""
    named = re.sub(r"^(sample|k)[\s_-]+", "", text.strip().lower().replace("++", "pp"))
    return re.sub(r"[^a-z0-9]", "", named).replace("scheduler", "")


def _by_spelling(named: Mapping[str, Iterable[str]]) -> dict[str, str]:
    return {_plain(spelling): name for name, spellings in named.items() for spelling in (name, *spellings)}


_SAMPLERS = _by_spelling({name: (one.title, *one.spellings) for name, one in SAMPLERS.items()})
_SCHEDULES = _by_spelling(SCHEDULES)


def read_sampler(text: str) -> Sampling | None:
    """The sampler of a name such as "DPM++ 2M", "dpmpp_2m_karras", "EulerDiscreteScheduler"; None if unknown.

    Case, spaces and punctuation are ignored. A schedule may follow the sampler.
    """
    plain = _plain(text)
    if plain in _SAMPLERS:
        return Sampling(_SAMPLERS[plain])
    for spelling, schedule in _SCHEDULES.items():
        name = _SAMPLERS.get(plain.removesuffix(spelling))
        if name is not None:
            return Sampling(name, schedule)
    return None


def read_schedule(text: str) -> str | None:
    """One of `SCHEDULES`, or None."""
    return _SCHEDULES.get(_plain(text))


def near_samplers(text: str) -> list[str]:
    """The most similar names of samplers, the most similar first; none if there are no similar ones."""
    found = get_close_matches(_plain(text), _SAMPLERS, len(_SAMPLERS), _NEAR_ENOUGH)
    return list(dict.fromkeys(_SAMPLERS[spelling] for spelling in found))[:NEAR]
