"""A training objective's further models, added to a stage's table."""

from __future__ import annotations

from dataclasses import replace

from service.core.finetuning import Objective
from service.core.memory.states import scaled, sum_of
from service.core.memory.tables import MemoryTable


def held_for(table: MemoryTable, objective: Objective, adapters: bool = False) -> MemoryTable:
    """The table of a stage that also holds what the objective needs.

    `adapters`: the policy is an adapter, so that its base serves as the reference too.
    """
    copies = objective.adapter_copies if adapters else objective.frozen_copies
    states, more = table.states, 1.0 + objective.trained_copies
    beside = scaled(states.weights, copies)
    held = states._replace(
        parameters=sum_of(scaled(states.parameters, more), beside),
        gradients=scaled(states.gradients, more),
        optimizer=scaled(states.optimizer, more),
    )
    samples = objective.sequences
    return replace(
        table,
        states=held,
        layers=table.layers.scaled(samples),
        outside=table.outside.scaled(samples),
        head=table.head.scaled(samples),
        outputs=table.outputs.scaled(samples),
        moments=tuple(moment.scaled(samples) for moment in table.moments),
    )
