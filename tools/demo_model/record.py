"""Measures the shipped model and its LoRAs, and keeps the figures beside the sha256 of every file they follow from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from .shipped import Shipped, measure_shipped

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MODEL = ROOT / "src" / "sdxl_gateway" / "demo_model"
LORAS = ROOT / "src" / "sdxl_gateway" / "demo_loras"
RECORDED = HERE / "figures.json"
CODE = ("evaluate.py", "scenes.py", "shipped.py")
COMMAND = "OMP_NUM_THREADS=1 python -m tools.demo_model.record"
Digests = dict[str, str]


def shipped_loras() -> list[Path]:
    """The LoRA files that come with the model, by name."""
    return sorted(LORAS.glob("*.safetensors"))


def digests() -> Digests:
    """The sha256 of each file of the model, of each LoRA, and of the code that measures, by a name that tells which."""
    model = [path for path in MODEL.rglob("*") if path.is_file()]
    named = {
        **_named("model", MODEL, model),
        **_named("loras", LORAS, shipped_loras()),
        **_named("code", HERE, (HERE / name for name in CODE)),
    }
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(named.items())}


def _named(kind: str, root: Path, paths: Iterable[Path]) -> dict[str, Path]:
    return {f"{kind}/{path.relative_to(root).as_posix()}": path for path in paths}


def recorded() -> tuple[Shipped, Digests]:
    """What `main` wrote last."""
    kept = json.loads(RECORDED.read_text("utf-8"))
    return Shipped.from_json(kept["figures"]), kept["sha256"]


def complaint(before: Digests, now: Digests) -> str:
    """One sentence naming the files that differ and how to measure anew; nothing when none does."""
    changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not changed:
        return ""
    return (
        f"The recorded figures of the demo model are of other files ({', '.join(changed)}): "
        f"run `{COMMAND}` from the top of the repository, which measures anew and records (two to four minutes)."
    )


def main() -> None:
    """Writes `figures.json`."""
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))
    before = digests()
    kept = {"figures": measure_shipped(MODEL, shipped_loras()).as_json(), "sha256": before}
    RECORDED.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    print(RECORDED.read_text("utf-8"))


if __name__ == "__main__":
    main()
