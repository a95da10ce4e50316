"""Tiny matte models as ONNX files: by default the alpha is the picture's first channel."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
Side = int | str


def model(
    path: Path,
    *,
    side: Side = 16,
    channels: int = 3,
    answers: int = 1,
    half: bool = False,
    spoil: str = "",
    inputs: int = 1,
) -> Path:
    """Takes (1, `channels`, `side`, `side`), returns the first `answers` channels; `spoil` is an extra operator."""
    number = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    given = [_value(f"in{i}", number, (1, channels, side, side)) for i in range(inputs)]
    picked = numpy_helper.from_array(np.arange(answers, dtype=np.int64), "picked")
    nodes = [helper.make_node("Gather", ["in0", "picked"], ["seen"], axis=1)]
    nodes.append(helper.make_node(spoil or "Identity", ["seen"], ["alpha"]))
    return _saved(path, nodes, given, [_value("alpha", number, (1, answers, side, side))], [picked])


def endless(path: Path, *, side: int = 1200, products: int = 400) -> Path:
    """Multiplies matrices for minutes, and can be stopped between two of them."""
    names = [f"m{i}" for i in range(products + 1)]
    picked = numpy_helper.from_array(np.zeros(1, np.int64), "picked")
    nodes = [helper.make_node("Gather", ["in0", "picked"], [names[0]], axis=1)]
    nodes += [helper.make_node("MatMul", [names[0], before], [after]) for before, after in pairwise(names)]
    shapes = [(1, 3, side, side), (1, 1, side, side)]
    given, told = (
        _value(name, TensorProto.FLOAT, shape) for name, shape in zip(("in0", names[-1]), shapes, strict=True)
    )
    return _saved(path, nodes, [given], [told], [picked])


def _value(name: str, number: int, shape: Sequence[Side]) -> Any:
    return helper.make_tensor_value_info(name, number, shape)


def _saved(path: Path, nodes: list[Any], given: list[Any], told: list[Any], constants: list[Any]) -> Path:
    graph = helper.make_graph(nodes, "matte", given, told, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8), path)
    return path
