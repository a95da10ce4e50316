"""Takes the `[matting]` section, gives the matte model it names; imports onnxruntime only if there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sdxl_gateway.config import Matting
from sdxl_gateway.core.errors import MatteProblem
from sdxl_gateway.core.events import MatteEnded
from sdxl_gateway.core.ports import Matte
from sdxl_gateway.matting.kinds import KINDS

DEMO = "demo"
Tell = Callable[[MatteEnded], None]


def open_matte(section: Matting, demo: Path, tell: Tell = lambda ended: None) -> Matte | None:
    """None if none is configured; the path "demo" stands for the file `demo`. `tell` is told of each run.

    Raises MatteProblem.
    """
    if section.path is None:
        return None
    path = demo if section.path == DEMO else Path(section.path)
    if not path.is_file():
        raise MatteProblem(f"matting.path: there is no file {path}.")
    return _open(path, section, tell)


def _open(path: Path, section: Matting, tell: Tell) -> Matte:
    try:
        from sdxl_gateway.matting.matte import OnnxMatte
        from sdxl_gateway.matting.net import MatteNet
    except ImportError as error:
        raise MatteProblem(f"matting.path: needs `pip install 'sdxl-gateway[matting]'` ({error}).") from error
    try:
        return OnnxMatte(MatteNet(path, KINDS[section.kind], section.threads), path, section.seconds, tell)
    except Exception as error:  # onnxruntime has an error class for each way in which a file can be wrong
        raise MatteProblem(f"matting.path: {path} cannot be used as a matte model: {error}.") from error
