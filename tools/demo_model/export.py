"""Writes the demo pipeline as one float16 folder in the layout of diffusers."""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from . import arch, common, text

TARGET = Path(__file__).resolve().parents[2] / "src" / "sdxl_gateway" / "demo_model"


def assemble(work: Path) -> StableDiffusionXLPipeline:
    """The pipeline from whatever the work folder holds; parts not trained yet are random."""
    torch.manual_seed(0)
    tokenizers = text.load_tokenizers(work)
    size = len(tokenizers[0])
    unet = arch.new_unet()
    encoder, encoder_2 = arch.new_text_encoder(size), arch.new_text_encoder_2(size)
    vae = AutoencoderKL.from_pretrained(work / "vae") if (work / "vae").exists() else arch.new_vae()
    if (work / "text_encoder_2").exists():
        encoder = CLIPTextModel.from_pretrained(work / "text_encoder")
        encoder_2 = CLIPTextModelWithProjection.from_pretrained(work / "text_encoder_2")
    trained = [work / f"{name}.ema.pt" for name in ("distilled", "unet") if (work / f"{name}.ema.pt").exists()]
    if trained:
        unet.load_state_dict(torch.load(trained[0])["unet"])
    return StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=encoder,
        text_encoder_2=encoder_2,
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=arch.new_scheduler(),
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )


def _without_paths(folder: Path) -> None:
    """Takes the name of the folder it was loaded from out of every config."""
    for path in folder.glob("*/*.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict) and values.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def export(work: Path, target: Path) -> int:
    """Replaces the target's files one by one and returns their size in bytes."""
    pipeline = assemble(work).to(torch.float16)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".demo_model_", dir=target.parent))
    try:
        pipeline.save_pretrained(fresh, safe_serialization=True)
        _without_paths(fresh)
        for path in sorted(p for p in fresh.rglob("*") if p.is_file()):
            goal = target / path.relative_to(fresh)
            goal.parent.mkdir(parents=True, exist_ok=True)
            path.chmod(0o644)
            path.replace(goal)
    finally:
        shutil.rmtree(fresh)
    return sum(path.stat().st_size for path in target.rglob("*") if path.is_file())


def main() -> None:
    """Exports once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=common.DEFAULT_WORK)
    parser.add_argument("--target", type=Path, default=TARGET)
    options = parser.parse_args()
    print(f"{export(options.work, options.target) / 1e6:.2f} MB in {options.target.name}")


if __name__ == "__main__":
    main()
