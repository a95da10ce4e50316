"""What each fuzz target begins with: something right, for the fuzzer to spoil."""

from __future__ import annotations

import json

from tests.fuzz.targets import SHAPES
from tests.kit.lora_files import file_bytes, lora_tensors
from tests.kit.pictures import DATA_URL

LORA = file_bytes(lora_tensors({name: shape for name, shape in SHAPES.items() if name.endswith("proj_in")}), {})
RIGHT: dict[str, bytes] = {
    "json_body": json.dumps({"prompt": "a cat", "n": 2, "loras": [{"name": "a", "weight": 0.5}]}).encode(),
    "form_body": b'--b\r\ncontent-disposition: form-data; name="prompt"\r\n\r\na cat\r\n--b--\r\n',
    "data_url": DATA_URL.encode(),
    "model_name": b"sdxl+watercolor:0.8+ink:0.5",
    "lora_header": LORA,
}
