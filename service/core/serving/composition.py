"""The whole answer for one serving job: memory, concurrency, speed, and what they rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.core.architecture.network import Network
from service.core.hardware import Accelerator, Device
from service.core.numeric import Number, maximum, minimum
from service.core.serving import drafting, memory, speed
from service.core.serving.calibration import Evidence, evidence
from service.core.serving.drafting import Draft, Drafting, Proposer
from service.core.serving.load import Replica
from service.core.serving.memory import Budget
from service.core.serving.tables import ServingTable, compute_format, format_class, table
from service.core.uncertainty import Interval


@dataclass(frozen=True)
class ServingJob:
    """What is asked of one replica. Names are categories; the rest are floats or arrays."""

    weights: str = "bf16"
    cache: str = "bf16"
    engine: str = "vllm"
    tensor: Number = 1.0
    pipeline: Number = 1.0
    data: Number = 1.0
    """Groups that the sequences are dealt to; expert ways are `tensor * data`."""
    dealt: bool | None = None
    """Whether a search deals a mixture's sequences to devices; None: see `dealing`."""
    concurrency: Number = 1.0
    """Sequences in progress at once."""
    prompt_tokens: Number = 1024.0
    output_tokens: Number = 256.0
    longest_tokens: Number | None = None
    """Prompt and output of the longest sequence; None where all are alike."""
    cached_prefix: Number = 0.0
    """Tokens of each prompt that an earlier request has left in the cache."""
    draft: Draft | None = None


@dataclass(frozen=True)
class ServingMemory:
    """Bytes on one device."""

    weights_bytes: Number
    """Of the model and of its draft."""
    cache_bytes: Number
    """Keys, values and states of the job's concurrency at full length, its draft's too."""
    reserved_bytes: Number
    """Context, graphs, workspaces, logits."""
    prompt_bytes: Number
    """Of these, activations of whole prompts, which live within the first pass only."""

    @property
    def peak_bytes(self) -> Number:
        """What the job needs; an engine fills the rest of its share with free cache blocks."""
        return self.weights_bytes + self.cache_bytes + self.reserved_bytes


@dataclass(frozen=True)
class ServingEstimate:
    """Everything that is said of one replica; floats, or arrays of one shape."""

    devices: Number
    weights_bytes: Number
    """All weights, in the format."""
    cache_bytes_per_token: Number
    """One more token of one sequence, over the whole network, while no window is full."""
    cache_bytes_per_token_per_device: Number
    """The same on one device; heads are replicated beyond the key-value heads."""
    cache_bytes_per_sequence_per_device: Number
    """One sequence at full length: the least that the architecture needs."""
    cache_reserved_bytes_per_sequence_per_device: Number
    """The same where an engine keeps sliding windows at full length."""
    memory: ServingMemory
    capacity_bytes: Number
    """What the engine may use of a device's memory."""
    cache_budget_bytes: Number
    """Of that, what is left for caches."""
    max_concurrency: Number
    """Longest sequences that fit at once: a floor."""
    mean_concurrency: Number
    """Sequences of the mean length that fit at once: what a mixed load admits."""
    batch: Number
    """Sequences in flight: the concurrency, or what fits if that is less."""
    prefill_seconds: Interval
    """One prompt on an idle replica; under load a queue comes on top."""
    first_token_seconds: Interval
    """From arrival to the first token with `batch` requests always in progress."""
    decode_seconds_per_token: Interval
    """Between a sequence's output tokens, its neighbours' prompts included."""
    output_tokens_per_second: Interval
    """Of the replica."""
    requests_per_second: Interval
    bandwidth_utilization: Number
    """Of the memory bandwidth, what a step uses."""
    model_flops_utilization: Number
    """Model FLOPs of prompts and outputs over the devices' dense peak, at this throughput."""
    level: str
    """`pair`, `engine` or `none`: what of (accelerator, engine) was measured."""
    formats_measured: bool
    """Whether the engine was measured with weights of this class, or they are in 16 bits."""
    drafting: Drafting | None = None
    """Where a draft proposes tokens."""


def estimate(network: Network, accelerator: Accelerator, job: ServingJob) -> ServingEstimate:
    """Memory, concurrency and speed of one replica.

    Raises UnknownFormat for a weight format, UnknownCacheFormat for a cache format.
    """
    return estimate_table(table(network, job.weights, job.cache), accelerator, job)


def estimate_table(
    folded: ServingTable, accelerator: Accelerator, job: ServingJob
) -> ServingEstimate:
    """The same from a network's table, which may be of a size that no network has."""
    known = evidence(accelerator.name, job.engine, format_class(job.weights))
    device = accelerator.device(compute_format(job.weights))
    asked = Replica(
        job.tensor,
        job.pipeline,
        job.concurrency,
        job.prompt_tokens,
        job.output_tokens,
        job.cached_prefix,
        data=job.data,
    )
    own = drafting.proposer(job.draft, accelerator, job.engine, job.cache)
    return _composed(folded, asked, device, known, job, own)


def _composed(
    folded: ServingTable,
    asked: Replica,
    device: Device,
    known: Evidence,
    job: ServingJob,
    own: Proposer | None,
) -> ServingEstimate:
    rule, both = memory.budget(job.engine), drafting.held(folded, own)
    mean = job.prompt_tokens + job.output_tokens
    length = mean if job.longest_tokens is None else job.longest_tokens
    budget = memory.cache_budget_bytes(both, asked, device, rule)
    admitted = memory.max_concurrency(both, asked, device, rule, mean)
    replica = replace(asked, batch=maximum(minimum(job.concurrency, admitted), 1.0))
    plain = speed.seconds_per_step(folded, replica, device, known.engine)
    drafted = drafting.seconds_per_token(folded, replica, device, known.engine, job.draft, own)
    per_token = known.interval("step", drafted)
    throughput = per_token.inverse(replica.batch)
    return ServingEstimate(
        devices=replica.devices,
        weights_bytes=folded.weights_bytes,
        cache_bytes_per_token=folded.cache.per_token(),
        cache_bytes_per_token_per_device=folded.cache.per_token(job.tensor) / job.pipeline,
        cache_bytes_per_sequence_per_device=memory.cache_bytes_per_sequence(
            folded, replica, length
        ),
        cache_reserved_bytes_per_sequence_per_device=memory.reserved_bytes_per_sequence(
            folded, replica, length
        ),
        memory=_memory(both, asked, length, rule),
        capacity_bytes=memory.capacity_bytes(both, asked, device, rule),
        cache_budget_bytes=budget,
        max_concurrency=memory.max_concurrency(both, asked, device, rule, length),
        mean_concurrency=admitted,
        batch=replica.batch,
        prefill_seconds=known.interval(
            "prefill",
            speed.prefill_seconds(folded, replica, device, known.engine)
            + drafting.prefill_seconds(replica, own),
        ),
        first_token_seconds=known.interval(
            "first_token",
            speed.first_token_seconds(folded, replica, device, known.engine)
            + drafting.first_token_seconds(replica, own),
        ),
        decode_seconds_per_token=per_token,
        output_tokens_per_second=throughput,
        requests_per_second=throughput.times(1.0 / job.output_tokens),
        bandwidth_utilization=speed.bandwidth_utilization(folded, replica, device, known.engine),
        model_flops_utilization=speed.request_flops(folded, replica)
        * (throughput.value / job.output_tokens)
        / (device.peak_flops * replica.devices),
        level=known.level,
        formats_measured=known.formats_measured,
        drafting=drafting.drafting(job.draft, own, plain, drafted),
    )


def _memory(both: ServingTable, replica: Replica, length: Number, rule: Budget) -> ServingMemory:
    each = memory.cache_bytes_per_sequence(both, replica, length)
    prompts = replica.own_sequences * memory.workspace_bytes_per_sequence(both, replica, rule)
    return ServingMemory(
        memory.weights_bytes_per_device(both, replica),
        replica.own_sequences * each,
        memory.reserved_bytes(both, replica, rule) + prompts,
        prompts,
    )
