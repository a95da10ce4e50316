"""Predicts the seconds of steps, stages and switches from an engine's measurements."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdxl_gateway.core.events import AdapterLoaded, BlendSwitched, Measurement, ModelLoaded, StageTimed, StepTaken
from sdxl_gateway.core.recipe import Recipe

WEIGHT_OF_NEW = 0.05
BEGINNING = ("encode", "references", "prepare")
"""The stages before an image's first step."""
SPREAD_TO_TRUST = 0.02  # squared relative spread of work below which a slope would be guessed from noise


CONTROL_WORK = 0.45
"""The work of a ControlNet's row relative to the UNet's, by the multiplications of its half of the UNet."""


def step_work(recipe: Recipe, step: int = 0) -> float:
    """UNet rows times paint megapixels of one step of one image; ControlNets count for the steps they take part in."""
    return _work(recipe, recipe.unet_rows_at(step))


def mean_work(recipe: Recipe, steps_done: int = 0) -> float:
    """The mean `step_work` of an image's remaining steps."""
    left = max(recipe.denoise_steps - steps_done, 1)
    last = recipe.unet_rows_at(recipe.denoise_steps)
    guided = max(recipe.guided_steps - steps_done, 0)
    return _work(recipe, last + (recipe.unet_rows - last) * guided / left)


def _work(recipe: Recipe, rows: float) -> float:
    controls = sum(control.end - control.start for control in recipe.controls)
    return rows * (1 + CONTROL_WORK * controls) * recipe.paint_width * recipe.paint_height / 1e6


@dataclass(slots=True)
class Average:
    """An exponential moving average that starts at its first value."""

    value: float = 0.0
    count: int = 0

    def add(self, new: float) -> None:
        """Add a measurement; it counts for `WEIGHT_OF_NEW`, or more while there are few."""
        self.count += 1
        self.value += (new - self.value) * max(WEIGHT_OF_NEW, 1 / self.count)


@dataclass(slots=True)
class StepCost:
    """A line fitted to (work, seconds): a fixed cost per step, and a cost per unit of work."""

    work: Average = field(default_factory=Average)
    seconds: Average = field(default_factory=Average)
    work_squared: Average = field(default_factory=Average)
    product: Average = field(default_factory=Average)

    def add(self, work: float, seconds: float) -> None:
        """Add a step of that much work, and how long it took."""
        self.work.add(work)
        self.seconds.add(seconds)
        self.work_squared.add(work * work)
        self.product.add(work * seconds)

    def of(self, steps: int, work: float) -> float:
        """The seconds of so many steps, of that much work altogether; 0 without measurements."""
        if not self.work.value:
            return 0.0
        variance = self.work_squared.value - self.work.value**2
        if variance < SPREAD_TO_TRUST * self.work.value**2:
            return self.seconds.value * work / self.work.value
        slope = (self.product.value - self.work.value * self.seconds.value) / variance
        slope = min(max(slope, 0.0), self.seconds.value / self.work.value)
        return steps * (self.seconds.value - slope * self.work.value) + slope * work


class Costs:
    """The costs of one engine; 0 until they are measured."""

    def __init__(self) -> None:
        self._step = StepCost()
        self._switch = Average()
        self._adapter = Average()
        self._checkpoint = Average()
        self._stages = {name: Average() for name in (*BEGINNING, "decode", "upscale")}

    def observe(self, measurement: Measurement) -> None:
        """Learn from a measurement of a duration."""
        match measurement:
            case StepTaken(seconds=seconds, work=work):
                self._step.add(work, seconds)
            case BlendSwitched(seconds=seconds):
                self._switch.add(seconds)
            case AdapterLoaded(source="host" | "disk", seconds=seconds):
                self._adapter.add(seconds)
            case ModelLoaded(kind="checkpoint", seconds=seconds):
                self._checkpoint.add(seconds)
            case StageTimed(stage=stage, seconds=seconds):
                self._stages.setdefault(stage, Average()).add(seconds)
            case _:
                pass

    @property
    def known(self) -> bool:
        """Whether a step was measured."""
        return self._step.seconds.count > 0

    @property
    def switch_seconds(self) -> float:
        """The seconds of a switch to another blend."""
        return self._switch.value

    def warming_seconds(self, *, checkpoint_warm: bool, adapters_missing: int) -> float:
        """The seconds of loading a checkpoint, unless it is warm, and so many adapters, and of the switch."""
        bringing = adapters_missing * self._adapter.value + (0.0 if checkpoint_warm else self._checkpoint.value)
        return bringing + self.switch_seconds if adapters_missing or not checkpoint_warm else 0.0

    @property
    def decode_seconds(self) -> float:
        """The seconds of an image's decode."""
        return self._stages["decode"].value

    @property
    def tile_seconds(self) -> float:
        """The seconds of upscaling one tile of a finished image."""
        return self._stages["upscale"].value

    @property
    def begin_seconds(self) -> float:
        """The seconds of an image's stages before its first step."""
        return sum(self._stages[name].value for name in BEGINNING)

    def step_seconds(self, work: float) -> float:
        """The seconds of one step of a batch of that much work altogether."""
        return self._step.of(1, work)

    def steps_seconds(self, steps: int, work: float) -> float:
        """The seconds of so many steps, of that much work altogether."""
        return self._step.of(steps, work)
