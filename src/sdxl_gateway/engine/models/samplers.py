"""Takes a sampler's name and a checkpoint's scheduler config, gives a fresh sampler as diffusers builds it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import torch

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.samplers import NORMAL

_DPMPP_2M = {"algorithm_type": "dpmsolver++", "solver_order": 2}
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", _DPMPP_2M | {"use_karras_sigmas": False}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", _DPMPP_2M | {"use_karras_sigmas": True}),
    "ddim": ("DDIMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),
}


class SamplerFactory:
    """Samplers of one checkpoint; each canvas gets its own, as a sampler remembers what it did."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._models: dict[tuple[str, str], Any] = {}

    def make(self, name: str, steps: int, schedule: str = NORMAL) -> Any:
        """With its timesteps set, on the CPU, where reading them waits for nobody.

        `schedule` is one of core.samplers.SCHEDULES; NORMAL leaves the spacing as the checkpoint's config has it.

        Raises InvalidRequest for an unknown name and for more steps than the sampler can take.
        """
        sampler = copy.deepcopy(self._model(name, schedule))
        try:
            sampler.set_timesteps(steps, device="cpu")
        except ValueError as error:
            raise InvalidRequest(f"The sampler '{name}' cannot take {steps} steps.", param="steps") from error
        return sampler

    def _model(self, name: str, schedule: str) -> Any:
        if (name, schedule) not in self._models:
            if name not in _KINDS:
                raise InvalidRequest(f"There is no sampler '{name}'.", param="sampler")
            kind, options = _KINDS[name]
            spacing = {} if schedule == NORMAL else {"timestep_spacing": schedule}
            self._models[name, schedule] = getattr(diffusers, kind).from_config(self._config, **options, **spacing)
        return self._models[name, schedule]


def step_options(sampler: Any, generator: torch.Generator) -> dict[str, Any]:
    """What `sampler.step` wants besides the numbers; samplers that draw noise draw it from `generator`."""
    wants_generator = "generator" in inspect.signature(sampler.step).parameters
    return {"generator": generator} if wants_generator else {}
