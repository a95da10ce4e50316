"""Takes a wheel, installs it into an empty environment, serves in an empty folder, asks for a blend, or fails.

What is tried is what somebody has who never saw the source tree: the code, the demo model, its LoRAs and the manual.
"""

from __future__ import annotations

import argparse
import base64
import io
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from PIL import Image

ROOT = Path(__file__).parents[1]
START_SECONDS = 120.0
BLEND = "demo+sunset"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    wheel = parser.parse_args().wheel.resolve(strict=True)
    with TemporaryDirectory() as temporary:
        empty = Path(temporary, "empty")
        empty.mkdir()
        command = install(wheel, Path(temporary, "environment"))
        try_words(command, empty)
        with serving(command, empty) as url:
            try_painting(url)
    print(f"{wheel.name}: installed, served and painted {BLEND}")


def install(wheel: Path, environment: Path) -> Path:
    """The command that a new environment with the wheel has. torch goes first, as in the Makefile."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = environment / "bin" / "pip"
    for wanted in ("torch", wheel):
        words: list[str | Path] = [pip, "install", "-q", "-c", ROOT / "constraints.txt", wanted]
        subprocess.run(words, check=True, env=bare_environment())
    return environment / "bin" / "sdxl-gateway"


def bare_environment() -> dict[str, str]:
    """This process's, without what would lead back to the source tree or change the settings."""
    foreign = ("PYTHONPATH", "PYTHONHOME", "SDXL_GATEWAY__")
    kept = {key: value for key, value in os.environ.items() if not key.upper().startswith(foreign)}
    fixed = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return {**kept, **fixed}


def try_words(command: Path, folder: Path) -> None:
    """`config` prints the manual, and `check` finds nothing wrong."""
    manual = subprocess.run([command, "config"], cwd=folder, env=bare_environment(), check=True, capture_output=True)
    if manual.stdout != (ROOT / "config.toml").read_bytes():
        raise SystemExit("`sdxl-gateway config` does not print config.toml.")
    subprocess.run([command, "check"], cwd=folder, env=bare_environment(), check=True)


@contextmanager
def serving(command: Path, folder: Path) -> Iterator[str]:
    """The address of a ready server that was started in the folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([command, "serve", "--port", str(port)], cwd=folder, env=bare_environment())
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(process, url)
        yield url
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"The server ended with status {process.returncode}.")
        try:
            if httpx.get(f"{url}/readyz", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"The server was not ready within {START_SECONDS:.0f} s.")


def try_painting(url: str) -> None:
    """The blend is another picture than the checkpoint alone, and its recipe names the LoRA."""
    plain, blended = painted(url, "demo"), painted(url, BLEND)
    loras = [lora["name"] for lora in blended["recipe"]["loras"]]
    if loras != ["sunset"] or pixels(plain) == pixels(blended):
        raise SystemExit(f"{BLEND} was painted without its LoRA: {blended['recipe']}")


def painted(url: str, model: str) -> Mapping[str, Any]:
    """The one picture of a reply, with its recipe. Raises httpx.HTTPStatusError."""
    body = {"model": model, "prompt": "a large red circle", "size": "256x256", "steps": 8, "seed": 1}
    answer = httpx.post(f"{url}/v1/images/generations", json=body, timeout=120)
    answer.raise_for_status()
    picture: Mapping[str, Any] = answer.json()["data"][0]
    return picture


def pixels(picture: Mapping[str, Any]) -> bytes:
    with Image.open(io.BytesIO(base64.b64decode(picture["b64_json"]))) as image:
        return image.convert("RGB").tobytes()


if __name__ == "__main__":
    main()
