"""/alternatives of an encoder: what of the body concerns it, and its job."""

from __future__ import annotations

from service.api.alternative_models import AlternativesRequest
from service.api.problems import at
from service.api.request_workloads import InferenceWorkload
from service.api.resolve import defaults
from service.api.resolve.defaults import WHY
from service.api.resolve.ledger import Ledger
from service.api.storing import weights_to_serve
from service.core.architecture.network import Network
from service.core.serving import ServingJob

NOT_MEASURED = (
    "encoders were measured under engine tensorrt-llm in 16 bits and int8: elsewhere a pass is "
    "that of prompts as long, and so is its interval"
)
NO_LAW = "no scaling law speaks of an encoder's loss: half and a quarter of its size are left out"
GENERATES_NOTHING = "an encoder answers a request in one pass; leave {} out{}"


def check(body: AlternativesRequest) -> None:
    """Refuse what an encoder has not. Raises ProblemError."""
    workload = body.request.workload
    assert isinstance(workload, InferenceWorkload)
    given = {
        "/traffic/output_tokens": body.traffic.output_tokens,
        "/request/workload/output_tokens": workload.output_tokens,
        "/request/workload/cached_prefix_tokens": workload.cached_prefix_tokens,
        "/request/layout": body.request.layout,
        "/training_tokens": body.training_tokens,
    }
    for pointer, value in given.items():
        if value is not None:
            detail = GENERATES_NOTHING.format(pointer.split("/")[-1], "")
            raise at("invalid-request", pointer, detail)
    if body.latency and body.latency.seconds_per_token is not None:
        detail = GENERATES_NOTHING.format("seconds_per_token", " and send request_seconds")
        raise at("invalid-request", "/latency/seconds_per_token", detail)


def job(body: AlternativesRequest, network: Network, ledger: Ledger) -> ServingJob:
    """One pass over a prompt, whose answer counts as its one output token."""
    workload, prompt = body.request.workload, body.traffic.prompt_tokens
    assert isinstance(workload, InferenceWorkload)
    usual = min(defaults.PROMPT_TOKENS, network.sequence_limit or defaults.PROMPT_TOKENS)
    stated = prompt.mean if prompt else workload.prompt_tokens
    mean = ledger.choose("/workload/prompt_tokens", stated, usual, WHY["lengths"])
    longest = prompt.longest if prompt else float(mean)
    if not network.reads(longest):
        detail = f"{longest:g} tokens are beyond the model's limit of {network.sequence_limit}"
        ledger.warn("sequence-beyond-limit", detail)
    return ServingJob(
        weights=weights_to_serve(network, workload.weights, ledger),
        engine=ledger.choose("/workload/engine", workload.engine, "vllm", WHY["engine"]),
        prompt_tokens=float(mean),
        output_tokens=1.0,
        longest_tokens=longest,
    )
