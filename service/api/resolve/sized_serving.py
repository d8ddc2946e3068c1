"""How fast devices serve a model of which only the size is known, on the ladder of `sized`."""

from __future__ import annotations

from functools import lru_cache

from service.api.resolve.sized import between, network
from service.core.hardware import Accelerator
from service.core.serving import ServingEstimate, ServingJob
from service.core.serving import estimate as serve

CONCURRENCY = 64.0


def serving_seconds(size: float, accelerator: Accelerator) -> float:
    """Device-seconds for a token that a model of this size serves, prompts counted; 0: no fit."""
    return float(between(size, lambda width: _served(width, accelerator)))


@lru_cache(maxsize=1024)
def _served(width: int, accelerator: Accelerator) -> float:
    """On the fewest devices that hold the weights and the caches of all sequences in flight."""
    most = accelerator.devices_per_node
    ways = [1 << i for i in range(7) if 1 << i <= most and width % (1 << i) == 0]
    replicas = [(way, 1) for way in ways] + [(ways[-1], 1 << i) for i in range(1, 7)]
    for tensor, pipeline in replicas:
        job = ServingJob(tensor=float(tensor), pipeline=float(pipeline), concurrency=CONCURRENCY)
        answer = serve(network(width), accelerator, job)
        if answer.memory.peak_bytes <= answer.capacity_bytes:
            return _seconds_a_token(answer, job)
    return 0.0


def _seconds_a_token(answer: ServingEstimate, job: ServingJob) -> float:
    tokens = job.prompt_tokens + job.output_tokens
    return float(answer.devices / (answer.requests_per_second.value * tokens))
