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
"""They take steps from the schedule they were distilled with; another spacing must be given as a list of steps."""
_WITHOUT_CLEAN_LATENTS = (diffusers.PNDMScheduler, diffusers.DEISMultistepScheduler, diffusers.TCDScheduler)


class SamplerFactory:
    """Samplers of one checkpoint; each canvas gets its own, as a sampler has state."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._config = dict(config)
        self._models: dict[tuple[str, str], Any] = {}

    def make(self, name: str, steps: int, schedule: str = NORMAL) -> Any:
        """With its timesteps set, on the CPU, where reading them does not wait for the device.

        `schedule` is one of core.samplers.SCHEDULES; NORMAL leaves it to the checkpoint's config. Raises InvalidRequest
        for an unknown name and for more steps than the sampler can take.
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
            scheduler = getattr(diffusers, kind)
            options = options | _schedule_options(schedule)
            self._models[name, schedule] = scheduler.from_config(self._config, **options)
        return self._models[name, schedule]


def _schedule_options(schedule: str) -> dict[str, Any]:
    """As options of diffusers' schedulers, which override the checkpoint's own config."""
    if schedule == NORMAL:
        return {}
    by_noise = {option: schedule == name for name, option in _BY_NOISE.items()}
    return by_noise if schedule in _BY_NOISE else by_noise | {"timestep_spacing": schedule}


def _trailing(train_steps: int, steps: int) -> list[int]:
    """Trailing timesteps: 999, 749, 499, 249 for four steps of a thousand."""
    return [round(train_steps - i * train_steps / steps) - 1 for i in range(steps)]


def step_options(sampler: Any, generator: torch.Generator, eta: float) -> dict[str, Any]:
    """The options that `sampler.step` takes; samplers that draw noise draw it from `generator`."""
    accepted = inspect.signature(sampler.step).parameters
    return {name: value for name, value in {"generator": generator, "eta": eta}.items() if name in accepted}


class _HostAhead(TorchFunctionMode):
    """Keeps diffusers' samplers from synchronising the host with a CUDA device.

    Noise that they draw, and vectors of coefficients that they solve for, are copied asynchronously. Single numbers
    stay on the host, which computes with them at once and passes them to kernels as arguments.
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
    """The output of `sampler.step`, without waiting for the device."""
    with _HostAhead() if latents.is_cuda else nullcontext():
        output: tuple[Any, ...] = sampler.step(prediction, timestep, latents, **options, return_dict=False)
    return output


def noised(sampler: Any, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
    """As `sampler.add_noise` at a `timestep` (1,); the two coefficients are found on the host, by noising 1 and 0."""
    signal, strength = sampler.add_noise(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), timestep).tolist()
    mixed: Tensor = (latents if signal == 1.0 else latents * signal) + noise * strength
    return mixed


def clean_latents(sampler: Any, stepped: tuple[Any, ...], prediction: Tensor, timestep: Tensor, latents: Tensor) -> Any:
    """The predicted clean latents, from the `prediction` given to `sampler.step` and from `stepped`, its output."""
    if isinstance(sampler, _WITHOUT_CLEAN_LATENTS):
        return _by_definition(sampler, prediction, timestep, latents)
    # Multistep samplers store the predicted clean latents instead of returning them.
    return stepped[1] if len(stepped) > 1 else sampler.model_outputs[-1]


def _by_definition(sampler: Any, prediction: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
    """For samplers of variance-preserving noise: solved for the clean latents."""
    kept: Tensor = sampler.alphas_cumprod[timestep.long()]
    signal, noise = kept**0.5, (1 - kept) ** 0.5
    if sampler.config.prediction_type == "v_prediction":
        return signal * latents - noise * prediction
    return (latents - noise * prediction) / signal
