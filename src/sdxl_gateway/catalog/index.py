"""Takes what a scan saw, gives it again after a restart, so that a large folder's headers are read but once."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdxl_gateway.catalog.scan import AdapterEntry, Problem, Seen
from sdxl_gateway.catalog.sidecar import Defaults

FILE_NAME = "adapters-index.json"
FORMAT = 1
"""Raised whenever an entry means something else than before: an older index is then read as empty."""


def load_index(data_directory: Path, root: Path) -> dict[Path, Seen]:
    """What the last scan of `root` saw; empty when there is no such index, or none that can be read."""
    try:
        index = json.loads((data_directory / FILE_NAME).read_text("utf-8"))
        if (index["format"], index["root"]) != (FORMAT, os.path.realpath(root)):
            return {}
        return {root / row["path"]: _seen(root, row) for row in index["rows"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def save_index(data_directory: Path, root: Path, seen: Mapping[Path, Seen]) -> None:
    """Writes the index whole or not at all; what went wrong is no harm, since the files can be read again."""
    rows = [_row(root, path, found) for path, found in seen.items() if found.entry is not None]
    text = json.dumps({"format": FORMAT, "root": os.path.realpath(root), "rows": rows})
    with suppress(OSError):
        _write(data_directory, text)


def _write(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{FILE_NAME}-")
    incoming = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        incoming.replace(folder / FILE_NAME)
    finally:
        incoming.unlink(missing_ok=True)


def _row(root: Path, path: Path, seen: Seen) -> dict[str, Any]:
    entry = asdict(seen.entry) if seen.entry is not None else {}
    del entry["path"], entry["signature"]
    problems = [asdict(problem) for problem in seen.problems]
    return {"path": str(path.relative_to(root)), "signature": seen.signature, "entry": entry, "problems": problems}


def _seen(root: Path, row: Mapping[str, Any]) -> Seen:
    signature = tuple((size, mtime_ns, inode) for size, mtime_ns, inode in row["signature"])
    told = dict(row["entry"])
    defaults = told.pop("defaults")
    words = tuple(defaults.pop("trigger_words"))
    entry = AdapterEntry(
        path=root / row["path"], signature=signature, defaults=Defaults(trigger_words=words, **defaults), **told
    )
    return Seen(signature, entry, tuple(Problem(**problem) for problem in row["problems"]))
