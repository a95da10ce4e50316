"""Takes a sampler's name and a checkpoint's scheduler config, gives a fresh sampler as diffusers builds it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import diffusers
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sdxl_gateway.core.errors import InvalidRequest
from sdxl_gateway.core.samplers import BETA, EXPONENTIAL, KARRAS, NORMAL, TRAILING
from sdxl_gateway.engine.device import to_device

_DPMPP = {"algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint"}
_SDE = _DPMPP | {"algorithm_type": "sde-dpmsolver++"}
_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpm_2": ("KDPM2DiscreteScheduler", {}),
    "dpm_2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", _DPMPP),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", _SDE),
    "dpmpp_2m_sde_heun": ("DPMSolverMultistepScheduler", _SDE | {"solver_type": "heun"}),
    "dpmpp_3m_sde": ("DPMSolverMultistepScheduler", _SDE | {"solver_order": 3}),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", _DPMPP),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", _SDE),
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "unipc": ("UniPCMultistepScheduler", {"solver_type": "bh2"}),
    "deis": ("DEISMultistepScheduler", {"algorithm_type": "deis", "solver_type": "logrho"}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
}
_BY_NOISE = {KARRAS: "use_karras_sigmas", EXPONENTIAL: "use_exponential_sigmas", BETA: "use_beta_sigmas"}
_OWN_SPACING = (diffusers.LCMScheduler, diffusers.TCDScheduler)
"""They take steps of the schedule they were distilled with; another spacing is a list of steps."""
_TELL_NO_CLEAN_LATENTS = (diffusers.PNDMScheduler, diffusers.DEISMultistepScheduler, diffusers.TCDScheduler)


class SamplerFactory:
    """Samplers of one checkpoint; each canvas gets its own, as a sampler remembers what it did."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._models: dict[tuple[str, str], Any] = {}

    def make(self, name: str, steps: int, schedule: str = NORMAL) -> Any:
        """With its timesteps set, on the CPU, where reading them waits for nobody.

        `schedule` is one of core.samplers.SCHEDULES; NORMAL leaves everything as the checkpoint's config has it.

        Raises InvalidRequest for an unknown name and for more steps than the sampler can take.
        """
        sampler = copy.deepcopy(self._model(name, schedule))
        try:
            if schedule == TRAILING and isinstance(sampler, _OWN_SPACING):
                sampler.set_timesteps(timesteps=_trailing(sampler.config.num_train_timesteps, steps), device="cpu")
            else:
                sampler.set_timesteps(steps, device="cpu")
        except ValueError as error:
            raise InvalidRequest(f"The sampler '{name}' cannot take {steps} steps.", param="steps") from error
        return sampler

    def _model(self, name: str, schedule: str) -> Any:
        if (name, schedule) not in self._models:
            if name not in _KINDS:
                raise InvalidRequest(f"There is no sampler '{name}'.", param="sampler")
            kind, options = _KINDS[name]
            made = getattr(diffusers, kind).from_config(self._config, **options, **_schedule_options(schedule))
            self._models[name, schedule] = made
        return self._models[name, schedule]


def _schedule_options(schedule: str) -> dict[str, Any]:
    """In the words of diffusers' configs, over whatever the checkpoint's own config says."""
    if schedule == NORMAL:
        return {}
    by_noise = {option: schedule == name for name, option in _BY_NOISE.items()}
    return by_noise if schedule in _BY_NOISE else by_noise | {"timestep_spacing": schedule}


def _trailing(train_steps: int, steps: int) -> list[int]:
    """999, 749, 499, 249 for four of a thousand."""
    return [round(train_steps - place * train_steps / steps) - 1 for place in range(steps)]


def step_options(sampler: Any, generator: torch.Generator, eta: float) -> dict[str, Any]:
    """What `sampler.step` wants besides the numbers; samplers that draw noise draw it from `generator`."""
    wanted = inspect.signature(sampler.step).parameters
    return {name: value for name, value in {"generator": generator, "eta": eta}.items() if name in wanted}


class _HostAhead(TorchFunctionMode):
    """While diffusers' samplers compute on a CUDA device, the host goes on.

    What they draw, and the vectors of coefficients they solve for, are sent without waiting. Single numbers stay on the
    host, which computes with them at once, and kernels take them as arguments.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.to and args[0].device.type == "cpu":
            device = kwargs.get("device", args[1] if len(args) > 1 else None)
            if isinstance(device, torch.device):
                return args[0] if args[0].ndim == 0 else to_device(args[0], device, kwargs.get("dtype"))
        if func is torch.ones and args == ((),):
            kwargs = {**kwargs, "device": None}
        return func(*args, **kwargs)


def take_step(
    sampler: Any, prediction: Tensor, timestep: Tensor, latents: Tensor, options: Mapping[str, Any]
) -> tuple[Any, ...]:
    """What `sampler.step` gives, without waiting for the device."""
    with _HostAhead() if latents.is_cuda else nullcontext():
        found: tuple[Any, ...] = sampler.step(prediction, timestep, latents, **options, return_dict=False)
    return found


def noised(sampler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """As `sampler.add_noise` mixes the two at a `timestep` (1,); how much of each it is asked on the host."""
    signal, strength = sampler.add_noise(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), timestep).tolist()
    found: Tensor = (latents if signal == 1.0 else latents * signal) + noise * strength
    return found


def clean_latents(sampler: Any, stepped: tuple[Any, ...], prediction: Tensor, timestep: Tensor, latents: Tensor) -> Any:
    """What the latents will be without noise, by the `prediction` that `sampler.step` was given; `stepped` it gave."""
    if isinstance(sampler, _TELL_NO_CLEAN_LATENTS):
        return _by_definition(sampler, prediction, timestep, latents)
    # Multistep samplers keep the predicted clean latents instead of giving them.
    return stepped[1] if len(stepped) > 1 else sampler.model_outputs[-1]


def _by_definition(sampler: Any, prediction: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
    """Of latents that were mixed with noise so that their variance stays."""
    kept: Tensor = sampler.alphas_cumprod[timestep.long()]
    signal, noise = kept**0.5, (1 - kept) ** 0.5
    if sampler.config.prediction_type == "v_prediction":
        return signal * latents - noise * prediction
    return (latents - noise * prediction) / signal
