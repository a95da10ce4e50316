"""A deployment of Ray Serve that holds LoRAs as Serve's multiplexed models: what they cost is slept."""

from __future__ import annotations

import asyncio
from typing import Any

from ray import serve


def begun(replicas: int, warm: int, job_seconds: float, bring_seconds: float) -> Any:
    """Its handle. A call gives whether the LoRA had to be brought; a device paints one at a time."""

    class Multiplexed:
        def __init__(self) -> None:
            self.device, self.disk = asyncio.Lock(), asyncio.Lock()
            self.brought: set[str] = set()

        @serve.multiplexed(max_num_models_per_replica=warm)  # type: ignore[untyped-decorator]
        async def bring(self, model_id: str) -> str:
            async with self.disk:
                await asyncio.sleep(bring_seconds)
            self.brought.add(model_id)
            return model_id

        async def __call__(self) -> bool:
            model_id = await self.bring(serve.get_multiplexed_model_id())
            cold = model_id in self.brought
            self.brought.discard(model_id)
            async with self.device:
                await asyncio.sleep(job_seconds)
            return cold

    deployed = serve.deployment(Multiplexed).options(
        num_replicas=replicas, max_ongoing_requests=8, ray_actor_options={"num_cpus": 0}
    )
    return serve.run(deployed.bind(), name="multiplexed", route_prefix=None)
