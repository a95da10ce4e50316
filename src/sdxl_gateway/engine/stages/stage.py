"""Stage: one thing that happens to every canvas, at its beginning, at each step, or at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from sdxl_gateway.engine.canvas import Canvas, Pending


class Stage:
    """All methods do nothing unless a subclass has them; `begin` and `finish` are then timed under `name`.

    A stage computes under `torch.inference_mode`, and enters it itself, as it may load or write weights outside it.
    """

    name: ClassVar[str]

    def begin(self, canvas: Canvas) -> None:
        """Fill in of a new canvas what the stages after this one, or its steps, need."""

    def step(self, canvases: Sequence[Canvas]) -> None:
        """Advance canvases of one batch key by one step; the model and the blend of their phase are in place."""

    def hand_over(self, canvas: Canvas) -> None:
        """Another model takes the next steps: `canvas.checkpoint` is that one already."""

    def close(self, canvas: Canvas) -> bool:
        """Do this stage's part in a closing step of a canvas that is denoised; whether it had any.

        A canvas without closing steps is closed once, before it is finished.
        """
        return False

    def preview(self, canvas: Canvas) -> Pending | None:
        """What the picture will be, under way; None from a stage that makes no previews."""

    def finish(self, canvas: Canvas) -> None:
        """Change the `picture` of a canvas that is decoded; others take steps on the engine's thread meanwhile."""


def having(stages: Iterable[Stage], method: str) -> tuple[Stage, ...]:
    """The stages that have a `method` of their own."""
    return tuple(stage for stage in stages if getattr(type(stage), method) is not getattr(Stage, method))
