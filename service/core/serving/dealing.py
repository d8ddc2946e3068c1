"""Attention data parallelism: whether a mixture's sequences are dealt to the devices of a replica.

Each device then has sequences of its own and all weights but the routed experts, which all devices
share. Engines offer it for mixtures and leave it off unless told otherwise (TensorRT-LLM
`enable_attention_dp`, SGLang `--enable-dp-attention`, vLLM `--data-parallel-size`). NVIDIA turns it
on in its published runs of mixtures on several devices, with pipeline stages too (TensorRT-LLM
perf-overview @03e27c7: llm_options.yml, and runs named DEP2,PP2), and so does `usual` under such a
load.
"""

from __future__ import annotations

from dataclasses import replace

from service.core.architecture.network import Network
from service.core.numeric import Number
from service.core.serving.composition import ServingJob

ENGINES = ("tensorrt-llm", "sglang", "vllm")
"""Engines that offer it."""
MEASURED = "tensorrt-llm"
"""The engine whose published runs have it on: the only one that it was measured with."""
DEALT_FROM = 16
"""Sequences of a device from which `usual` deals them: a load, not a few users."""


def possible(network: Network, engine: str, devices: int) -> bool:
    """Whether the engine can deal the network's sequences to that many devices."""
    experts = network.experts()
    return engine in ENGINES and devices > 1 and experts > 0 and experts % devices == 0


def usual(network: Network, engine: str, concurrency: Number, devices: int) -> bool:
    """Whether a loaded mixture is served so where nobody says: as the published runs were.

    `concurrency` and `devices` are those of a pipeline stage.
    """
    loaded = bool(concurrency >= DEALT_FROM * devices)
    return engine == MEASURED and loaded and possible(network, engine, devices)


def refused(network: Network, job: ServingJob, devices: int) -> bool:
    """Whether the job asks a mixture for what that many devices cannot do."""
    able = devices == 1 or possible(network, job.engine, devices)
    return bool(job.dealt) and network.experts() > 0 and not able


def spread(network: Network, job: ServingJob, devices: int) -> ServingJob:
    """The job on that many devices of a stage: dealt to them, or divided over them."""
    load = job.concurrency / job.pipeline
    own = usual(network, job.engine, load, devices) if job.dealt is None else job.dealt
    return _on(job, devices, own and possible(network, job.engine, devices))


def unasked(network: Network, job: ServingJob) -> list[ServingJob]:
    """The job as it is and, where it is dealt though nobody asked for that, divided too."""
    devices = int(job.tensor * job.data)
    if job.dealt is not None or job.data == 1 or any(h % devices for h in network.heads()):
        return [job]
    return [job, _on(job, devices, False)]


def tried(network: Network, job: ServingJob, devices: int) -> list[ServingJob]:
    """The ways of a search on that many devices: as asked, or both where the engine's runs deal."""
    if refused(network, job, devices):
        return []
    divided, dealt = _on(job, devices, False), _on(job, devices, True)
    if job.dealt is False or not possible(network, job.engine, devices):
        return [divided]
    if job.dealt:
        return [dealt]
    return [divided, dealt] if job.engine == MEASURED else [divided]


def _on(job: ServingJob, devices: int, own: bool) -> ServingJob:
    tensor, data = (1, devices) if own else (devices, 1)
    return replace(job, tensor=float(tensor), data=float(data))
