"""Stores the results of scans, so that a restart does not read all headers of a large folder again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from sdxl_gateway import __version__
from sdxl_gateway.catalog.lora_folder.fit import Fit
from sdxl_gateway.catalog.lora_folder.scan import LoraEntry, Problem, Seen, Signature
from sdxl_gateway.catalog.lora_folder.sidecar import NOTHING_KNOWN, Defaults
from sdxl_gateway.config import Loras
from sdxl_gateway.core.files import write_whole

FILE_NAME = "adapters-index.json"
FORMAT = 5
"""Raised whenever the meaning of an entry changes: an index in an older format is ignored."""
JUDGED_BY = {"max_file_bytes", "max_header_bytes", "max_tensors"}
"""The settings that decide whether a file is a LoRA."""
_ENTRY_FIELDS = tuple(field.name for field in fields(LoraEntry) if field.name not in ("path", "signature"))
_DEFAULTS_FIELDS = tuple(field.name for field in fields(Defaults))


def rules_of(limits: Loras, fit: Fit) -> str:
    """A text of everything that the results depend on: they are valid while it stays the same."""
    return f"{__version__} {limits.model_dump_json(include=JUDGED_BY)} {fit.key}"


def load_index(data_directory: Path, root: Path, rules: str) -> dict[str, Seen]:
    """The results of the last scan of `root`, if its rules were the same; empty if there is no such index."""
    try:
        index = json.loads((data_directory / FILE_NAME).read_text("utf-8"))
        if (index["format"], index["root"], index["rules"]) != (FORMAT, os.path.realpath(root), rules):
            return {}
        return {row["path"]: _seen(root, row) for row in index["rows"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return {}


def save_index(data_directory: Path, root: Path, rules: str, seen: Mapping[str, Seen]) -> None:
    """Write the index, whole or not at all; failures are ignored, since the files can be read again."""
    rows = [_row(place, found) for place, found in seen.items() if found.signature]
    text = json.dumps({"format": FORMAT, "root": os.path.realpath(root), "rules": rules, "rows": rows})
    with suppress(OSError):
        data_directory.mkdir(parents=True, exist_ok=True)
        write_whole(data_directory / FILE_NAME, [text.encode()], mode=0o600)


def _row(place: str, seen: Seen) -> dict[str, Any]:
    told = None if seen.entry is None else _told(seen.entry)
    problems = [asdict(problem) for problem in seen.problems]
    return {"path": place, "signature": seen.signature, "entry": told, "problems": problems}


def _told(entry: LoraEntry) -> dict[str, Any]:
    told = {name: getattr(entry, name) for name in _ENTRY_FIELDS}
    known = () if entry.defaults == NOTHING_KNOWN else _DEFAULTS_FIELDS
    return told | {"defaults": {name: getattr(entry.defaults, name) for name in known}}


def _seen(root: Path, row: Mapping[str, Any]) -> Seen:
    signature = tuple((size, mtime_ns, inode) for size, mtime_ns, inode in row["signature"])
    entry = None if row["entry"] is None else _entry(root / row["path"], signature, dict(row["entry"]))
    return Seen(signature, entry, tuple(Problem(**problem) for problem in row["problems"]))


def _entry(path: Path, signature: Signature, told: dict[str, Any]) -> LoraEntry:
    defaults = told.pop("defaults")
    words, said = (tuple(defaults.pop(name, ())) for name in ("trigger_words", "said"))
    known = Defaults(trigger_words=words, said=said, **defaults)
    ranks = tuple(told.pop("ranks"))
    return LoraEntry(path=path, signature=signature, defaults=known, ranks=ranks, **told)
