"""A resolved training job, asked of the core, as its cluster's runs correct it."""

from __future__ import annotations

from dataclasses import replace

from service.api.resolve.places import Place
from service.api.resolve.training import TrainingJob
from service.core import estimate as core
from service.core import rollouts
from service.core.cluster_calibration import Corrections
from service.core.finetuning import Objective
from service.core.memory.objectives import held_for
from service.core.spending import ALONE, Accounting
from service.core.uncertainty import Interval

GENERAL = Corrections()
"""No cluster: the model as it was fitted."""


def prepared(job: TrainingJob, own: Corrections = GENERAL) -> core.Prepared:
    """The job folded; what its objective keeps beside the model counts too."""
    found = core.prepare(
        job.network, job.kernels, job.accelerator, int(job.layout.pipeline), job.sequence_length
    )
    if job.objective != Objective():
        beside = rollouts.beside(
            job.network,
            job.objective,
            job.sequence_length,
            float(found.recomputed_flops),
            _generated(job),
        )
        stages = [
            (held_for(table, job.objective, job.adapters), stage)
            for table, stage in found.memory_stages
        ]
        found = replace(found, memory_stages=tuple(stages), beside=beside)
    return found if own == GENERAL else core.corrected(found, own)


def _generated(job: TrainingJob) -> Interval:
    """Seconds in which the samples of a step are generated; none where they are given."""
    if job.rollout is None:
        return Interval(0.0, 0.0, 0.0)
    layout = job.layout
    return rollouts.rollout_seconds(
        job.network,
        job.accelerator,
        job.rollout,
        float(layout.global_batch_size),
        float(layout.devices),
    )


def evaluated(
    job: TrainingJob,
    place: Place,
    usd: float | None,
    own: Corrections = GENERAL,
    counted: Accounting = ALONE,
) -> core.Estimate:
    """The estimate of a job in a place."""
    return core.evaluate(
        prepared(job, own), job.layout, job.tokens, place.site, usd or 0.0, counted
    )
