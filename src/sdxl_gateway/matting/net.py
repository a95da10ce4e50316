"""Takes an image, gives its alpha by a matte model in an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from sdxl_gateway.matting.kinds import Kind
from sdxl_gateway.nets.session import Stop, cpu_session

Values = npt.NDArray[np.float32]
NUMBERS = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
# As the models' authors resize; sharper filters would leave a faint rim around the subject.
RESAMPLING = Image.Resampling.BILINEAR
STEADY = 1e-6
"""A smaller range of output values is noise, and is not stretched."""


class Unfit(Exception):
    """The file's model is not a matte model; the text is for the operator."""


class MatteNet:
    """Runs on the CPU, in `threads` threads, including the caller's."""

    def __init__(self, path: Path, kind: Kind, threads: int) -> None:
        """Raises Unfit, and onnxruntime's own errors for a file that it cannot open."""
        self._session = cpu_session(path, threads)
        self._kind = kind
        self._name, self._type, self._size = _input(self._session, kind)
        self._output = _output(self._session)

    def alpha(self, image: Image.Image, stop: Stop) -> Image.Image:
        """An L image of the image's size. Raises ValueError if the output is not finite, and onnxruntime's errors."""
        normalised = _normalised(image.convert("RGB").resize(self._size, RESAMPLING), self._kind)
        inputs = {self._name: normalised.astype(NUMBERS[self._type])}
        (output,) = self._session.run([self._output], inputs, stop.options)
        matte = Image.fromarray(_bytes(np.asarray(output, dtype=np.float32), self._kind))
        return matte.resize(image.size, RESAMPLING)


def _input(session: Any, kind: Kind) -> tuple[str, str, tuple[int, int]]:
    """The name and type of its only input, and the width and height that it takes."""
    first, *others = session.get_inputs()
    if others or len(first.shape) != 4 or not _may_be(first.shape[1], 3) or first.type not in NUMBERS:
        raise Unfit("it does not read one picture of three channels")
    height, width = (side if isinstance(side, int) else kind.side for side in first.shape[2:])
    return first.name, first.type, (width, height)


def _may_be(side: int | str | None, wanted: int) -> bool:
    """The size is `wanted`, or left open by the file."""
    return not isinstance(side, int) or side == wanted


def _output(session: Any) -> str:
    """The name of the first output, which is the finest matte; others are intermediate."""
    first = session.get_outputs()[0]
    if len(first.shape) < 2 or not all(_may_be(side, 1) for side in first.shape[:-2]):
        raise Unfit("its first output is not one matte")
    return str(first.name)


def _normalised(image: Image.Image, kind: Kind) -> Values:
    """Shape (1, 3, height, width)."""
    values = np.asarray(image, dtype=np.float32)
    brightest = max(float(values.max()), 1.0) if kind.by_brightest else 255.0
    mean, std = np.asarray(kind.mean, np.float32), np.asarray(kind.std, np.float32)
    normal: Values = (values / np.float32(brightest) - mean) / std
    return normal.transpose(2, 0, 1)[None]


def _bytes(output: Values, kind: Kind) -> npt.NDArray[np.uint8]:
    """Shape (height, width), 0 to 255."""
    if not np.isfinite(output).all():
        raise ValueError("the matte model's output is not finite")
    matte: Values = output.reshape(output.shape[-2:])
    if kind.logits:
        matte = np.float32(0.5) * (1 + np.tanh(matte / 2))  # the logistic function, without its overflow
    lowest, highest = float(matte.min()), float(matte.max())
    if kind.stretched and highest - lowest > STEADY:
        matte = (matte - lowest) / (highest - lowest)
    return (matte.clip(0, 1) * 255 + 0.5).astype(np.uint8)
