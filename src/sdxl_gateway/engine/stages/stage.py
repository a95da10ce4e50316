"""Stage: one thing that happens to every canvas, at its beginning, at each step, or at its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from sdxl_gateway.engine.canvas import Canvas, Pending


class Stage:
    """Methods do nothing unless a subclass overrides them; all but `step` and `preview` are timed under `name`.

    A stage enters `torch.inference_mode` itself, since it may have to load or write weights outside of it.
    """

    name: ClassVar[str]

    def begin(self, canvas: Canvas) -> None:
        """Set the attributes of a new canvas that later stages, or its steps, need."""

    def step(self, canvases: Sequence[Canvas]) -> None:
        """Advance canvases of one batch key by one step; their phase's model is loaded and its blend on."""

    def hand_over(self, canvas: Canvas) -> None:
        """Adapt the canvas to the model of the next steps, which is `canvas.checkpoint` already."""

    def close(self, canvas: Canvas) -> bool:
        """Do this stage's part in a closing step of a denoised canvas; gives whether it had anything to do.

        For a canvas without closing steps it is called once, before `finish`.
        """
        return False

    def preview(self, canvas: Canvas) -> Pending | None:
        """A preview, still being copied to the host; None from a stage that makes none."""

    def finish(self, canvas: Canvas) -> None:
        """Change the `picture` of a decoded canvas; not on the engine's thread, which goes on with steps meanwhile."""


def having(stages: Iterable[Stage], method: str) -> tuple[Stage, ...]:
    """The stages that override `method`."""
    return tuple(stage for stage in stages if getattr(type(stage), method) is not getattr(Stage, method))
