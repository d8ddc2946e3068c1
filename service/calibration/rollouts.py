"""Published steps of reinforcement learning beside what they consist of.

`python -m service.calibration.rollouts` prints each row: what the policy's training, the forward
passes and the engine at the mean length of the answers explain, and what the rest of the step is
of the engine's time (`service.core.rollouts.WAITING`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from service.calibration.measured import accelerator, network, read
from service.core.estimate import prepare, timed
from service.core.finetuning import OBJECTIVES
from service.core.parallelism import Kernels, Layout
from service.core.rollouts import Rollout, beside, engine_seconds

PROMPT_TOKENS = 150.0
"""Of a problem of OpenMathInstruct-2, the data of these runs; little beside the answers."""


class Step(NamedTuple):
    """A published step and its parts; seconds."""

    model: str
    observed: float
    training: float
    forward: float
    engine: float
    """The serving engine's, if all answers had the mean length and nothing waited."""

    @property
    def waiting(self) -> float:
        """What is neither training nor forward passes, over the engine's time."""
        return (self.observed - self.training - self.forward) / self.engine


def steps() -> Iterator[Step]:
    """Every published step."""
    for row in read("rollout_rows"):
        net, card = network(row["model"]), accelerator(row["accelerator"])
        names = ("tensor", "context", "expert", "pipeline")
        layout = Layout(
            devices=float(row["devices"]),
            zero_stage=1.0,
            sequence_parallel=float(float(row["train_tensor"]) > 1),
            global_batch_size=float(row["train_batch"]),
            **{name: float(row[f"train_{name}"]) for name in names},
        )
        length, samples = float(row["mean_tokens"]), float(row["rollout_samples"])
        job = prepare(net, Kernels(), card, int(layout.pipeline), length)
        passes = beside(net, OBJECTIVES["grpo"], length, float(job.recomputed_flops))
        step, items = timed(job, layout)
        batches = samples / layout.global_batch_size
        rollout = Rollout(PROMPT_TOKENS, length - PROMPT_TOKENS)
        yield Step(
            row["model"],
            float(row["step_seconds"]),
            batches * items.total.value,
            batches * passes.forward_seconds(step, layout),
            engine_seconds(net, card, rollout, samples, layout.devices),
        )


def main() -> None:
    """Print the rows."""
    for step in steps():
        print(
            f"{step.model}: {step.observed:.0f} s, training {step.training:.1f}, forward "
            f"{step.forward:.1f}, engine {step.engine:.1f}; waiting {step.waiting:.1f}"
        )


if __name__ == "__main__":
    main()
