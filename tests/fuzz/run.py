"""Fuzzes one target for as long as libFuzzer is told to: `python -m tests.fuzz.run json_body -max_total_time=600`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

FOLDER = Path("fuzz")
"""Where what was found interesting is kept from one run to the next."""


def main() -> None:
    """Flags after the target's name are libFuzzer's. Ends with a crash file and status 77 where a target fails."""
    with atheris.instrument_imports(include=["sdxl_gateway"]):
        from tests.fuzz.seeds import RIGHT
        from tests.fuzz.targets import TARGETS, survives
    name = sys.argv.pop(1)
    corpus = FOLDER / name
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "right").write_bytes(RIGHT[name])
    atheris.Setup([*sys.argv, str(corpus)], lambda data: survives(TARGETS[name], data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
