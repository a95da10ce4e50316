"""Takes figures and the files they are of, keeps both as JSON; gives them back with the files' digest of that time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

FiguresT = TypeVar("FiguresT")


@dataclass(frozen=True)
class Record(Generic[FiguresT]):
    """`name` is that of a file beside this one; `kind` is the figures' dataclass, `files` what they are measured on."""

    name: str
    kind: type[FiguresT]
    files: tuple[Path, ...]

    def digest(self) -> str:
        """sha256 of the files as they are now, one after the other."""
        return hashlib.sha256(b"".join(path.read_bytes() for path in self.files)).hexdigest()

    def read(self) -> tuple[FiguresT, str]:
        """The figures written last, and the digest of the files they are of."""
        kept = json.loads(self._path.read_text("utf-8"))
        return self.kind(**kept["figures"]), kept["sha256"]

    def write(self, figures: Any) -> None:
        """Keeps an instance of `kind`, and prints what is kept."""
        text = json.dumps({"figures": asdict(figures), "sha256": self.digest()}, indent=2)
        self._path.write_text(text + "\n", "utf-8")
        print(text)

    @property
    def _path(self) -> Path:
        return Path(__file__).parent / self.name
