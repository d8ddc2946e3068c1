"""How long an optimizer step takes.

`stages` folds a network once, `step` evaluates the formula on floats or arrays, `predict` adds
the interval that measured runs give it.
"""

from service.core.throughput.coefficients import Coefficients, bounds, coefficients, generation
from service.core.throughput.predictions import (
    Prediction,
    billed_factor,
    device,
    predict,
)
from service.core.throughput.stages import Stages, has_experts, stages
from service.core.throughput.steptime import StateBytes, StepTime, state_bytes, step
from service.core.throughput.work import Work, WorkTable, table

__all__ = [
    "Coefficients",
    "Prediction",
    "Stages",
    "StateBytes",
    "StepTime",
    "Work",
    "WorkTable",
    "billed_factor",
    "bounds",
    "coefficients",
    "device",
    "generation",
    "has_experts",
    "predict",
    "stages",
    "state_bytes",
    "step",
    "table",
]
