"""What tutorials build: one pipeline and one lock, LoRAs loaded and unloaded around each request, or kept loaded."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.painting import BarePipeline, Order
from sdxl_gateway.catalog.model_grammar import split_model

Paint = Callable[[Order, Mapping[str, float]], Image.Image]


def loading_each_time(pipeline: BarePipeline, loras: str) -> Paint:
    """The LoRAs come for one picture and are thrown away after it."""

    def paint(order: Order, weights: Mapping[str, float]) -> Image.Image:
        if not weights:
            return pipeline.paint(order)
        try:
            pipeline.load(loras, weights)
            return pipeline.paint_with(order, weights)
        finally:
            pipeline.unload()

    return paint


def keeping_loaded(pipeline: BarePipeline, loras: str) -> Paint:
    """All LoRAs are loaded from the start, and every picture takes some; one without any is not painted here."""
    pipeline.load(loras, sorted(path.stem for path in Path(loras).glob("*.safetensors")))
    return pipeline.paint_with


def build(paint: Paint) -> Starlette:
    lock = asyncio.Lock()

    async def generate(request: Request) -> Response:
        body = await request.json()
        async with lock:
            encoded = await asyncio.to_thread(_painted, paint, body)
        return JSONResponse({"data": [{"b64_json": encoded}]})

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[Route("/v1/images/generations", generate, methods=["POST"]), Route("/readyz", readyz, methods=["GET"])]
    )


def _painted(paint: Paint, body: Mapping[str, object]) -> str:
    _, *parts = split_model(str(body["model"]))
    weights = {part.name: 1.0 if part.weight is None else part.weight for part in parts}
    order = Order(str(body["model"]), int(str(body["seed"])), int(str(body["steps"])))
    file = io.BytesIO()
    paint(order, weights).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--loras", default="loras")
    parser.add_argument("--keep-loaded", action="store_true")
    asked = parser.parse_args()
    way = keeping_loaded if asked.keep_loaded else loading_each_time
    app = build(way(BarePipeline(asked.threads), asked.loras))
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="error")


if __name__ == "__main__":
    main()
