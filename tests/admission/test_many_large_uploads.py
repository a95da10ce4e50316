"""Many large uploads at once: few are held at a time, and their memory goes back to the system."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PIXELS_BYTES = 8000 * 5000 * 4
PROGRAM = """
import asyncio, io, json, sys
from pathlib import Path
from PIL import Image
from sdxl_gateway.config import Loras, Settings
from sdxl_gateway.core.ask import Ask, Operation, Upload
from sdxl_gateway.core.memory import return_large_blocks
from sdxl_gateway.core.picture import Size
from tests.kit.admission import opened

def said(key):
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if "kB" in line)
    return int(lines[key].split()[0]) * 1024

async def main():
    return_large_blocks()
    folder = Path(sys.argv[1])
    admission = opened(Settings(data_directory=folder, loras=Loras(directory=folder))).admission
    png = io.BytesIO()
    Image.new("RGB", (8000, 5000), (200, 30, 60)).save(png, "PNG")
    ask = Ask(Operation.EDIT, "a", images=(Upload("image", png.getvalue()),), size=Size(256, 256))
    before = said("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    leaving = [asyncio.ensure_future(admission.resolve(ask)) for _ in range(6)]
    await asyncio.sleep(0.3)
    for one in leaving:
        one.cancel()
    found = await asyncio.gather(*(admission.resolve(ask) for _ in range(8)))
    assert all(one.inputs.pictures["image"].width == 256 for one in found)
    del found
    # A thread lets go of its last upload a moment after it handed over the result.
    for _ in range(200):
        if said("VmRSS") - before < 2**25:
            break
        await asyncio.sleep(0.05)
    print(json.dumps({"peak": said("VmHWM") - before, "left": said("VmRSS") - before}))

asyncio.run(main())
"""


def test_two_are_held_at_a_time_and_nothing_is_left(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300, check=False)
    assert found.returncode == 0, found.stderr
    used = json.loads(found.stdout.splitlines()[-1])
    assert used["peak"] < 3 * PIXELS_BYTES
    assert used["left"] < 2**26
