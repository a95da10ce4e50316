"""Takes the shipped model and its LoRAs, gives the figures its tests hold to: colours, shapes, and styles by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import evaluate, scenes

WEIGHTS = (0.0, 0.5, 1.0)
STYLED = evaluate.style_cases(6)
Styles = dict[str, list[float]]


@dataclass(frozen=True)
class Shipped:
    """Shares of the 60 prompts that training never saw, and each LoRA's mean style score at each of `WEIGHTS`."""

    base: evaluate.Figures
    styles: Styles

    def as_json(self) -> dict[str, Any]:
        """`base` by name and `styles` by LoRA; the inverse of `from_json`."""
        return {"base": asdict(self.base), "styles": self.styles}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Shipped:
        """What `as_json` gave."""
        return cls(evaluate.Figures(**found["base"]), found["styles"])


def measure_shipped(model: Path, loras: Sequence[Path]) -> Shipped:
    """Paints some 100 pictures of 20 steps: minutes on a CPU, in as many threads as torch is set to."""
    pipeline = evaluate.load_pipeline(model)
    wanted = evaluate.cases()
    base = evaluate.measure(evaluate.paint(pipeline, wanted), wanted)
    plain = evaluate.paint(pipeline, STYLED, batch=6)
    return Shipped(base, {path.stem: _scores(pipeline, path, plain) for path in loras})


def _scores(pipeline: Any, path: Path, plain: Sequence[scenes.Picture]) -> list[float]:
    """The style's mean score without the LoRA, then with it at each other weight; it is taken off again."""
    pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name=path.stem, local_files_only=True)
    try:
        return [
            evaluate.style_mean(path.stem, plain),
            *(_styled(pipeline, path.stem, weight) for weight in WEIGHTS[1:]),
        ]
    finally:
        pipeline.unload_lora_weights()


def _styled(pipeline: Any, name: str, weight: float) -> float:
    pipeline.set_adapters(name, weight)
    return evaluate.style_mean(name, evaluate.paint(pipeline, STYLED, batch=6))
