"""The whole answer for one serving job: memory, concurrency, speed, and what they rest on."""

from __future__ import annotations

from dataclasses import dataclass, replace

from service.core.architecture.network import Network
from service.core.hardware import Accelerator, Device
from service.core.numeric import Number, maximum, minimum
from service.core.serving import memory, speed
from service.core.serving.calibration import Evidence, evidence
from service.core.serving.load import Engine, Replica
from service.core.serving.tables import ServingTable, compute_format, table
from service.core.uncertainty import Interval


@dataclass(frozen=True)
class ServingJob:
    """What is asked of one replica. Names are categories; the rest are floats or arrays."""

    weights: str = "bf16"
    cache: str = "bf16"
    engine: str = "vllm"
    tensor: Number = 1.0
    pipeline: Number = 1.0
    concurrency: Number = 1.0
    """Sequences in progress at once."""
    prompt_tokens: Number = 1024.0
    output_tokens: Number = 256.0
    cached_prefix: Number = 0.0
    """Tokens of each prompt that an earlier request has left in the cache."""


@dataclass(frozen=True)
class ServingMemory:
    """Bytes on one device; they add up to the peak."""

    weights_bytes: Number
    cache_bytes: Number
    """Keys, values and states of the job's concurrency at full length."""
    reserved_bytes: Number
    """Context, workspaces, graphs and communication buffers."""

    @property
    def peak_bytes(self) -> Number:
        """What the job needs, before an engine fills the rest with cache blocks."""
        return self.weights_bytes + self.cache_bytes + self.reserved_bytes


@dataclass(frozen=True)
class ServingEstimate:
    """Everything that is said of one replica."""

    devices: Number
    weights_bytes: Number
    """All weights, in the format."""
    cache_bytes_per_token: Number
    """One more token of one sequence, over the whole network, while no window is full."""
    cache_bytes_per_token_per_device: Number
    """The same on one device; whole heads are replicated beyond the key-value heads."""
    cache_bytes_per_sequence_per_device: Number
    """One sequence at full length: the least that the architecture needs."""
    cache_reserved_bytes_per_sequence_per_device: Number
    """The same where an engine keeps sliding windows at full length."""
    memory: ServingMemory
    capacity_bytes: Number
    """Of a device's memory, what the engine may use."""
    max_concurrency: Number
    """Sequences of full length that fit at once; a floor, since most are shorter."""
    batch: Number
    """Sequences in flight: the concurrency, or what fits if that is less."""
    prefill_seconds: Interval
    """One prompt on an idle replica; a loaded one adds a queue."""
    decode_seconds_per_token: Interval
    output_tokens_per_second: Interval
    """Of the replica."""
    level: str
    """`pair`, `engine` or `none`: what of (accelerator, engine) was measured."""


def estimate(network: Network, accelerator: Accelerator, job: ServingJob) -> ServingEstimate:
    """Memory, concurrency and speed of one replica.

    Raises UnknownFormat for a weight format, and KeyError for a cache format, without a rule.
    """
    folded = table(network, job.weights, job.cache)
    known = evidence(accelerator.name, job.engine)
    device = accelerator.device(compute_format(job.weights))
    asked = Replica(
        job.tensor,
        job.pipeline,
        job.concurrency,
        job.prompt_tokens,
        job.output_tokens,
        job.cached_prefix,
    )
    fitting = memory.max_concurrency(folded, asked, device, known.engine, _length(job))
    replica = replace(asked, batch=maximum(minimum(job.concurrency, fitting), 1.0))
    return _composed(folded, replica, device, known, job, fitting)


def _length(job: ServingJob) -> Number:
    return job.prompt_tokens + job.output_tokens


def _composed(
    folded: ServingTable,
    replica: Replica,
    device: Device,
    known: Evidence,
    job: ServingJob,
    fitting: Number,
) -> ServingEstimate:
    engine, length = known.engine, _length(job)
    per_token = speed.seconds_per_output_token(folded, replica, device, engine)
    decode = known.interval(per_token)
    return ServingEstimate(
        devices=replica.devices,
        weights_bytes=folded.weights_bytes,
        cache_bytes_per_token=folded.cache.per_token() * folded.cache_bytes,
        cache_bytes_per_token_per_device=memory.cache_bytes_per_token(folded, replica),
        cache_bytes_per_sequence_per_device=memory.cache_bytes_per_sequence(
            folded, replica, length
        ),
        cache_reserved_bytes_per_sequence_per_device=memory.reserved_bytes_per_sequence(
            folded, replica, length
        ),
        memory=_memory(folded, replace(replica, batch=job.concurrency), engine, length),
        capacity_bytes=device.memory_bytes * engine.memory_fraction,
        max_concurrency=fitting,
        batch=replica.batch,
        prefill_seconds=known.interval(speed.prefill_seconds(folded, replica, device, engine)),
        decode_seconds_per_token=decode,
        output_tokens_per_second=decode.inverse(replica.batch),
        level=known.level,
    )


def _memory(
    folded: ServingTable, replica: Replica, engine: Engine, length: Number
) -> ServingMemory:
    each = memory.cache_bytes_per_sequence(folded, replica, length)
    weights = memory.weights_bytes_per_device(folded, replica)
    return ServingMemory(weights, replica.batch * each, engine.reserved_bytes)
