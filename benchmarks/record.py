"""Takes sections of rows as they are measured, keeps them in one file for each card, so that a run can be taken up."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from benchmarks.figures import RESULTS, Row, taken


@dataclass(frozen=True)
class Record:
    """What is known of one card: under each section's name the machine and the day it was measured on, and its rows."""

    path: Path
    machine: dict[str, Any]
    sections: dict[str, Any]

    @classmethod
    def of_card(cls, machine: dict[str, Any], folder: Path = RESULTS) -> Record:
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
        path = folder / f"gpu-{name.lower().replace(' ', '-')}.json"
        return cls(path, machine, json.loads(path.read_text("utf-8")) if path.exists() else {})

    def take(self, name: str, rows: Iterable[Row]) -> None:
        """Rows that were measured before an error are kept; the error goes on."""
        found: list[dict[str, Any]] = []
        self.sections[name] = {"day": date.today().isoformat(), "machine": self.machine, "rows": found}
        print(f"-- {name}", flush=True)
        for row in rows:
            taken([row])
            found.append({**asdict(row), "kept": row.kept})
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(json.dumps(self.sections, indent=2) + "\n", "utf-8")
