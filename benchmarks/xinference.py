"""Measures the gateway beside Xinference 4.1, on the demo model: `make bench-xinference XINFERENCE=venv/bin/python`.

Xinference's pin of click excludes the huggingface-hub that current diffusers takes, so it needs an environment of its
own: one with the gateway's versions of torch, diffusers, transformers and peft and whatever else it imports, but no
torchvision built for another torch, and then `pip install --no-deps xinference==4.1.0`.

Both sides have the same checkpoint and LoRA files, float32 weights, torch threads, noise, steps and guidance. What is
not alike: Xinference encodes prompts the web UI's way, which changes a picture a little (above guidance 1, where empty
negative prompts count, more than a little), and does so for every picture, where the gateway keeps the encodings of the
one prompt all orders share. Xinference's user accounts and metrics are off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from PIL import Image, ImageChops, ImageStat

from benchmarks.figures import Row, publish, speedup_row, taken
from benchmarks.loras import BUNDLED
from benchmarks.machine import describe_machine
from benchmarks.painting import PROMPT, REQUEST_SECONDS, SIDE, STEPS, Order, decoded, default_guidance, opened
from benchmarks.servers import free_port, gateway, running
from benchmarks.traffic import CLIENTS, FEW_STEPS, FOUR_BLENDS, crowd, evenly, zipf
from sdxl_gateway.catalog.model_grammar import split_model
from sdxl_gateway.config import DEMO_LORAS, DEMO_MODEL

THREADS = 1
PROMISE = 3.0
STRONG_GUIDANCE = 7.0
PACKAGES = ("xinference", "torch", "diffusers", "transformers", "peft")
TELL_VERSIONS = "import importlib.metadata as m, json, sys; print(json.dumps({p: m.version(p) for p in sys.argv[1:]}))"
SETTINGS = {
    "XINFERENCE_ENABLE_VIRTUAL_ENV": "0",
    "XINFERENCE_AUTH_ADVANCED": "0",
    "XINFERENCE_DISABLE_METRICS": "1",
}


def installed(python: Path) -> dict[str, str] | None:
    """Versions of what paints on Xinference's side; None where it is not installed."""
    if not python.is_file():
        return None
    told = subprocess.run([python, "-c", TELL_VERSIONS, *PACKAGES], capture_output=True, text=True)
    versions: dict[str, str] | None = json.loads(told.stdout) if told.returncode == 0 else None
    return versions


@contextmanager
def xinference(python: Path, threads: int) -> Iterator[str]:
    """The address of an Xinference with the demo model loaded and the bundled LoRAs registered."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as home:
        port = free_port()
        command = [str(python.with_name("xinference-local")), "--host", "127.0.0.1"]
        command += ["--port", str(port), "--log-level", "error"]
        settings = {**SETTINGS, "XINFERENCE_HOME": home}
        with running(command, settings, threads, port, ready="/status", quiet=True) as url:
            # It removes empty folders of its cache when it starts, then fails to put a link to the model into this one.
            Path(home, "cache", "v2").mkdir(parents=True, exist_ok=True)
            _launch(url)
            yield url


def _launch(url: str) -> None:
    loads = {"model_engine": "diffusers", "model_type": "image", "model_uid": "demo", "model_name": "demo"}
    config = {"default_model_config": {"torch_dtype": "float32"}, "default_generate_config": {}}
    with httpx.Client(base_url=url, timeout=REQUEST_SECONDS) as client:
        _register(client, "demo", "stable_diffusion", DEMO_MODEL, model_ability=["text2image"], **config)
        for name in BUNDLED:
            _register(client, name, "lora", DEMO_LORAS / f"{name}.safetensors")
        client.post("/v1/models", json=loads).raise_for_status()


def _register(client: httpx.Client, name: str, family: str, file: Path, **more: Any) -> None:
    spec = {
        "version": 2,
        "model_name": name,
        "model_family": family,
        "model_base": "SDXL",
        "model_uri": str(file),
        **more,
    }
    body = {"model": json.dumps(spec), "persist": True}
    client.post("/v1/model_registrations/image", json=body).raise_for_status()


def asked(order: Order, guidance: float) -> dict[str, Any]:
    """The order in the words of the web UI's API."""
    checkpoint, *loras = split_model(order.model)
    tags = [f"<lora:{lora.name}:{1.0 if lora.weight is None else lora.weight}>" for lora in loras]
    return {
        "model": checkpoint.name,
        "prompt": PROMPT + "".join(tags),
        "seed": order.seed,
        "steps": order.steps,
        "cfg_scale": guidance,
        "width": SIDE,
        "height": SIDE,
        "sampler_name": "Euler",
    }


def answered(answer: httpx.Response) -> Image.Image:
    """The picture of a reply. Raises httpx.HTTPStatusError for any other."""
    answer.raise_for_status()
    return decoded(answer.json()["images"][0])


def likeness_row(gateway_url: str, xinference_url: str) -> Row:
    """Whether both take the same noise, steps, guidance and LoRAs."""
    orders = [Order(), Order(seed=2), Order(steps=1), *(Order(f"demo+{name}:0.8") for name in BUNDLED)]
    bodies = [order.body() for order in orders] + [{**Order().body(), "guidance_scale": STRONG_GUIDANCE}]
    words = [asked(order, default_guidance()) for order in orders]
    with httpx.Client(timeout=REQUEST_SECONDS) as client:
        ours = [opened(client.post(f"{gateway_url}/v1/images/generations", json=body)) for body in bodies]
        theirs = [answered(client.post(f"{xinference_url}/sdapi/v1/txt2img", json=body)) for body in words]
    same = [apart(a, b) for a, b in zip(theirs, ours, strict=False)]
    other = [min(apart(a, b) for b in ours if b is not its) for a, its in zip(theirs, ours, strict=False)]
    figure = max(a / b for a, b in zip(same, other, strict=True))
    detail = f"{min(same):.1f} to {max(same):.1f} of 255 against {min(other):.1f} to {max(other):.1f}"
    name = "Xinference's picture: difference from ours of the same order / from ours most like it of another"
    return Row(name, figure, 1.0, True, detail, len(orders))


def apart(one: Image.Image, other: Image.Image) -> float:
    """The mean absolute difference of 8-bit values."""
    means = ImageStat.Stat(ImageChops.difference(one.convert("RGB"), other.convert("RGB"))).mean
    return sum(means) / len(means)


def speed_rows(gateway_url: str, xinference_url: str, rounds: int, pictures: int) -> Iterator[Row]:
    """Twenty blends as they come, each side in turn; both have seen each LoRA before."""
    guidance = default_guidance()

    async def paint(client: httpx.AsyncClient, order: Order) -> Image.Image:
        return answered(await client.post("/sdapi/v1/txt2img", json=asked(order, guidance)))

    seen = evenly(1, len(FOUR_BLENDS))
    crowd(gateway_url, seen)
    crowd(xinference_url, seen, paint)
    for steps in (STEPS, FEW_STEPS):
        ours, theirs = [], []
        for seed in range(rounds):
            orders = zipf(steps, pictures, seed)
            ours.append(crowd(gateway_url, orders))
            theirs.append(crowd(xinference_url, orders, paint))
        name = f"{CLIENTS} clients, 20 blends (Zipf), {steps} steps: pictures/s over Xinference's"
        yield speedup_row(name, PROMISE, ours, theirs)


def measure(python: Path, rounds: int, pictures: int) -> Iterator[Row]:
    """Each row as soon as it is known."""
    with gateway(THREADS) as url, xinference(python, THREADS) as xinference_url:
        yield likeness_row(url, xinference_url)
        yield from speed_rows(url, xinference_url, rounds, pictures)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", type=Path, required=True, help="of the environment that Xinference is installed in")
    parser.add_argument("--quick", action="store_true", help="a few pictures, to see that everything runs")
    told = parser.parse_args(words)
    python = told.python.absolute()
    versions = installed(python)
    if versions is None:
        print(f"Nothing is measured: {told.python} has no Xinference.")
        return
    rows = taken(measure(python, *((1, 4) if told.quick else (2, 16))))
    machine = {**describe_machine(THREADS), "beside": versions}
    publish(rows, machine, "quick.json" if told.quick else "xinference.json")


if __name__ == "__main__":
    main()
