"""Takes an ONNX file, opens it for running on the CPU; the only file that imports onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime

ERRORS_ONLY = 3


class Stop:
    """Ends a running network early, from any thread."""

    def __init__(self) -> None:
        self.options = onnxruntime.RunOptions()

    def now(self) -> None:
        """The run raises as soon as its current operator is done."""
        self.options.terminate = True


def cpu_session(path: Path, threads: int) -> Any:
    """An InferenceSession of `threads` threads, including the caller's. Raises onnxruntime's own errors."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while waiting for the next operator would take CPU time from the engines.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = ERRORS_ONLY
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
