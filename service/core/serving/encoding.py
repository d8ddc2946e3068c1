"""An encoder that is served: whole inputs in one pass, an answer for each, nothing decoded.

A pass takes the inputs that wait together, as many as the engine schedules at once, and costs what
the same prompts of a language model would: `speed.prefill_seconds`. No encoder was among the
measured rows, so the intervals are those of prompts.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.network import Network
from service.core.hardware import Accelerator
from service.core.numeric import Number, floor, maximum, minimum
from service.core.serving import composition, speed
from service.core.serving.calibration import evidence
from service.core.serving.composition import ServingEstimate, ServingJob
from service.core.serving.load import Replica
from service.core.serving.memory import budget
from service.core.serving.tables import compute_format, format_class, table
from service.core.uncertainty import Interval

NOTHING = Interval(0.0, 0.0, 0.0)


def estimate(network: Network, accelerator: Accelerator, job: ServingJob) -> ServingEstimate:
    """One replica: of a model that generates `composition.estimate`, of an encoder its passes.

    Of an encoder a request's one answer stands where its output tokens would: the job asks for one,
    `first_token_seconds` is the time to it with `batch` requests always in progress, and between
    tokens there is nothing. Raises what `composition.estimate` raises.
    """
    found = composition.estimate(network, accelerator, job)
    return found if network.causal else _encoded(found, network, accelerator, job)


def _encoded(
    found: ServingEstimate, network: Network, accelerator: Accelerator, job: ServingJob
) -> ServingEstimate:
    folded = table(network, job.weights, job.cache)
    device = accelerator.device(compute_format(job.weights))
    known = evidence(accelerator.name, job.engine, format_class(job.weights))
    replica = Replica(job.tensor, job.pipeline, found.batch, job.prompt_tokens, 0.0, data=job.data)
    together = minimum(replica.own_sequences, _scheduled(job))
    seconds = speed.prefill_seconds(folded, replica, device, known.engine, together)
    seconds = seconds + known.engine.sequence_seconds * together
    waited = known.interval("prefill", seconds * (replica.own_sequences / together))
    answers = waited.inverse(replica.batch)
    read = folded.step_bytes / (replica.tensor * device.memory_bandwidth)
    flops = speed.request_flops(folded, replica) * answers.value
    return replace(
        found,
        first_token_seconds=waited,
        decode_seconds_per_token=NOTHING,
        output_tokens_per_second=answers,
        requests_per_second=answers,
        bandwidth_utilization=minimum(read / seconds, 1.0),
        model_flops_utilization=flops / (device.peak_flops * replica.devices),
    )


def _scheduled(job: ServingJob) -> Number:
    """Inputs of one pass: all that wait, up to the engine's tokens a pass where it has a limit."""
    tokens = budget(job.engine).batched_tokens or float("inf")
    return maximum(floor(tokens / job.prompt_tokens), 1.0)
