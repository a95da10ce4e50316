"""What each fuzz target begins with: something right, for the fuzzer to spoil."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

from PIL import Image

from sdxl_gateway.pictures.encode import encode
from sdxl_gateway.pictures.written import Written
from tests.fuzz.bodies import ENDPOINT
from tests.fuzz.files import BETWEEN, SHAPES
from tests.kit.images import signer, stored
from tests.kit.lora_files import file_bytes, lora_tensors
from tests.kit.pictures import DATA_URL, PNG

LORA = file_bytes(lora_tensors({name: shape for name, shape in SHAPES.items() if name.endswith("proj_in")}), {})
CHECKPOINT = file_bytes(
    {
        "model.diffusion_model.input_blocks.0.0.weight": (1, 4, 3, 3),
        "conditioner.embedders.1.model.ln_final.weight": (1,),
        "first_stage_model.decoder.conv_in.weight": (1, 4, 1, 1),
    }
)
METADATA: tuple[Any, ...] = (
    {"10_ink": {"ink style": 30, "tree": 12}},
    {"": {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"conv_in": 4}}},
    *({}, {"conv_alpha": 1}, 8, 4),
)
RECIPE = {"task": "text_to_image", "prompt": "a fox", "seed": 7, "loras": [{"name": "ink", "weight": 0.5}]}
TRACE = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\nvendor=1\n2-17\n"
QUERY = f"limit=5&after=a&{signer().query(stored(1), 3600)}\n{stored(1).file_name}".encode()


def _part(name: str, value: bytes, more: str = "") -> bytes:
    return f'--b\r\ncontent-disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"


def _picture() -> bytes:
    return encode(Image.open(io.BytesIO(PNG)), "jpeg", written=Written("a fox\nSteps: 20", RECIPE))


RIGHT: dict[str, bytes] = {
    "json_body": json.dumps({"prompt": "a cat", "n": 2, "loras": [{"name": "a", "weight": 0.5}]}).encode(),
    "large_json": json.dumps({"image": "a" * 5000, "mask": "\n" * 3000, "prompt": ["ä", 1e9, {"a": None}]}).encode(),
    "form_body": _part("prompt", b"a cat") + b"--b--\r\n",
    "file_form": _part("purpose", b"vision") + _part("file", PNG, '; filename="a.png"') + b"--b--\r\n",
    "lora_form": _part("name", b"art/ink") + _part("file", LORA[:99], '; filename="a"') + b"--b--\r\n",
    "compressed_body": gzip.compress(b"a cat"),
    "data_url": DATA_URL.encode(),
    "model_name": b"sdxl+watercolor:0.8+ink:0.5",
    "prompt": b"a (red:1.3) cat [on] a ((mat)) BREAK \\(indoors\\) <lora:ink:0.5>",
    "batch_lines": json.dumps(
        {"custom_id": "a", "method": "POST", "url": ENDPOINT, "body": {"prompt": "a cat", "model": "sdxl"}}
    ).encode(),
    "lora_header": LORA,
    "lora_metadata": BETWEEN.join([*(json.dumps(one).encode() for one in METADATA), *(b"lcm_4step",) * 4]),
    "side_car": b'# ours\ndescription = "wet"\nsteps = 4\nweight = 0.5\ntrigger_words = [\n  "ink",\n]\n',
    "checkpoint_file": CHECKPOINT,
    "picture_file": _picture(),
    "written_recipe": json.dumps(RECIPE).encode(),
    "http_head": b"POST /v1/images HTTP/1.1\r\nhost: a:80\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "header_fields": TRACE + b"key-1\nrespond-async; wait=5\n" + QUERY,
}
