"""What an optimizer step does for its objective beside training one sequence a sample.

Preference objectives train two sequences a sample, or run the reference forward beside them;
reinforcement first generates the samples and scores them. The items of a step:

    step = models trained * training + forward passes * forward + waiting * engine

A forward pass takes the policy's training time, without its optimizer and its gradients' traffic,
by the ratio of the FLOPs. All models are of the policy's size and layout, and each sample is
trained on once. Samples are generated on the same devices, by replicas of a serving engine that
has the memory to itself meanwhile (Sheng et al. 2024, HybridFlow, arXiv 2409.19256, section 5).
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from service.core import compute, serving
from service.core.architecture.network import Network
from service.core.finetuning import Objective
from service.core.hardware import Accelerator
from service.core.numeric import Number, sqrt, where
from service.core.parallelism import Layout
from service.core.throughput import StepTime
from service.core.uncertainty import Interval, added

WIDTHS = (1, 2, 4, 8, 16, 32)
"""Devices over which one replica of the engine may be divided."""
PROMPT_SHARE = 0.25
"""Of a sample's tokens, those of the prompt, where nobody says."""
ENGINE = "vllm"
WAITING = Interval(3.8, 2.2, 12.0)
"""What a step takes beside training and forward passes, over the engine's time for answers of the
mean length: a step waits for its longest answer, and weights are copied to the engine. Median and
range of five published steps (NeMo RL v0.4, `service.calibration.rollouts`)."""
_NONE = Interval(0.0, 0.0, 0.0)


class Rollout(NamedTuple):
    """Lengths of what is generated; tokens of a sample."""

    prompt_tokens: float
    output_tokens: float
    """The mean of the answers."""


class Beside(NamedTuple):
    """What an objective adds to a step; floats, or arrays in a sweep."""

    sequences: Number = 1.0
    """Trained for each sample."""
    models: Number = 1.0
    """Trained: the policy, and a critic."""
    forward: Number = 0.0
    """Sequences of one sample that run forward only, over all models."""
    forward_share: Number = 0.0
    """FLOPs of a forward pass over those of training a sequence, recomputation included."""
    rollout: Interval = _NONE
    """Seconds in which the samples of a step are generated."""

    def layout(self, layout: Layout) -> Layout:
        """The layout with a sample's sequences in the batch."""
        return replace(
            layout,
            micro_batch_size=layout.micro_batch_size * self.sequences,
            global_batch_size=layout.global_batch_size * self.sequences,
        )

    def forward_seconds(self, step: StepTime, layout: Layout) -> Number:
        """Seconds of all forward passes of a step; `step` trains the sequences of one model."""
        traffic = where(layout.zero_stage >= 3, 0.0, step.data_seconds)
        once = (step.total_seconds - step.optimizer_seconds - traffic) * self.forward_share
        return once * self.forward / self.sequences


def beside(
    network: Network,
    objective: Objective,
    sequence_length: float,
    recomputed_flops: float,
    rollout: Interval = _NONE,
) -> Beside:
    """What an objective adds to the steps of a network.

    `recomputed_flops`: of a sample, what its backward pass repeats.
    """
    flops = compute.table(network)
    training = flops.training(sequence_length) + recomputed_flops
    return Beside(
        objective.trained_sequences,
        1.0 + objective.trained_copies,
        objective.forward_sequences,
        float(flops.forward(sequence_length) / max(training, 1.0)),
        rollout,
    )


def rollout_seconds(
    network: Network,
    accelerator: Accelerator,
    rollout: Rollout,
    samples: float,
    devices: float,
) -> Interval:
    """Seconds until samples have been generated on devices."""
    return WAITING.times(engine_seconds(network, accelerator, rollout, samples, devices))


def engine_seconds(
    network: Network,
    accelerator: Accelerator,
    rollout: Rollout,
    samples: float,
    devices: float,
) -> float:
    """Seconds of a serving engine for samples of equal length, none of which waits.

    `output tokens * seconds a token * waves`, by the narrowest replica's width that takes the
    least: each decodes as many samples at once as its memory holds. A network that fits no width
    is answered by the widest.
    """
    found = [
        _of_width(network, accelerator, rollout, samples, devices, width)
        for width in WIDTHS
        if width <= devices
    ]
    return min([seconds for seconds, fits in found if fits], default=found[-1][0])


def _of_width(
    network: Network,
    accelerator: Accelerator,
    rollout: Rollout,
    samples: float,
    devices: float,
    width: int,
) -> tuple[float, bool]:
    """Seconds with replicas of that width, and whether they hold a sample at all."""
    together = max(samples * width / devices, 1.0)
    job = serving.ServingJob(
        engine=ENGINE,
        tensor=float(width),
        concurrency=together,
        prompt_tokens=rollout.prompt_tokens,
        output_tokens=rollout.output_tokens,
    )
    answer = serving.estimate_table(_served(network), accelerator, job)
    waves = max(together / float(answer.batch), 1.0)
    seconds = float(answer.decode_seconds_per_token.value) * rollout.output_tokens * waves
    return seconds, bool(answer.max_concurrency >= 1.0)


@lru_cache(maxsize=256)
def _served(network: Network) -> serving.ServingTable:
    return serving.table(network)


class StepItems(NamedTuple):
    """Seconds of an optimizer step, and of what it consists of."""

    total: Interval
    training: Interval
    forward: Interval | None = None
    """Passes that train nothing; None where only the policy is trained."""
    rollout: Interval | None = None
    """Generating the samples; None where only the policy is trained."""
    host: Interval | None = None
    """Updating what is kept in host memory; part of `training`; None where nothing is."""


def step_items(
    training: Interval, forward: Interval, rollout: Interval, host: Interval | None = None
) -> StepItems:
    """The items of a step. Training and forward passes err together, generation by itself."""
    return StepItems(sum_of(added(training, forward), rollout), training, forward, rollout, host)


def sum_of(a: Interval, b: Interval) -> Interval:
    """Of two independent quantities: half-widths add in quadrature on each side."""
    value = a.value + b.value
    below = sqrt((a.value - a.low) ** 2 + (b.value - b.low) ** 2)
    above = sqrt((a.high - a.value) ** 2 + (b.high - b.value) ** 2)
    return Interval(value, value - below, value + above)
