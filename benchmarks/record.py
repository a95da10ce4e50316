"""Takes sections of rows as they are measured, keeps them in one file for each card, so that a run can be taken up."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, Row

WHOLE = "whole"
"""How a section ended that was measured to its end; of others it is said what ended them."""


@dataclass(frozen=True)
class Record:
    """What is known of one card: under each section's name machine, day, rows, and how it ended."""

    path: Path
    machine: dict[str, Any]
    sections: dict[str, Any]

    @classmethod
    def of_card(cls, card: str, machine: dict[str, Any], folder: Path = RESULTS) -> Record:
        path = folder / f"gpu-{card.lower().replace(' ', '-')}.json"
        return cls(path, machine, json.loads(path.read_text("utf-8")) if path.exists() else {})

    def has(self, name: str) -> bool:
        """The section was measured to its end."""
        return name in self.sections and bool(self.sections[name].get("ended") == WHOLE)

    def begin(self, name: str) -> None:
        """What was known of the section is forgotten with its first row."""
        self.sections[name] = {"day": date.today().isoformat(), "machine": self.machine, "ended": None, "rows": []}

    def add(self, name: str, row: Row) -> None:
        """Of a section that was begun; on the disk when this returns."""
        self.sections[name]["rows"].append({**asdict(row), "kept": row.kept})
        self._write()

    def end(self, name: str, how: str) -> None:
        self.sections[name]["ended"] = how
        self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(exist_ok=True)
        beside = self.path.with_suffix(".new")
        beside.write_text(json.dumps(self.sections, indent=2) + "\n", "utf-8")
        beside.replace(self.path)
