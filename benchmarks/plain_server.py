"""What most tutorials build: one pipeline, one lock, LoRAs loaded and unloaded around each request."""

from __future__ import annotations

import argparse
import asyncio
import base64
import io

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from benchmarks.painting import BarePipeline, Order
from sdxl_gateway.catalog.names import split_model


def build(pipeline: BarePipeline, loras: str) -> Starlette:
    lock = asyncio.Lock()

    async def generate(request: Request) -> Response:
        body = await request.json()
        async with lock:
            encoded = await asyncio.to_thread(_paint, pipeline, body, loras)
        return JSONResponse({"data": [{"b64_json": encoded}]})

    async def readyz(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[Route("/v1/images/generations", generate, methods=["POST"]), Route("/readyz", readyz, methods=["GET"])]
    )


def _paint(pipeline: BarePipeline, body: dict[str, object], loras: str) -> str:
    _, *parts = split_model(str(body["model"]))
    weights = {part.name: 1.0 if part.weight is None else part.weight for part in parts}
    order = Order(str(body["model"]), int(str(body["seed"])), int(str(body["steps"])))
    file = io.BytesIO()
    pipeline.paint_with(order, weights, loras).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--loras", default="loras")
    asked = parser.parse_args()
    app = build(BarePipeline(asked.threads), asked.loras)
    uvicorn.run(app, host="127.0.0.1", port=asked.port, log_level="error")


if __name__ == "__main__":
    main()
