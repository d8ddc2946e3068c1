"""What is measured: training and decoding steps of small models, as requests to the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

MODELS = ("pythia-70m", "gpt-2", "smollm2-360m")
"""Catalog models that most devices can train."""
Activity = Literal["training", "decoding"]


@dataclass(frozen=True)
class Setup:
    """What all cases of one call share."""

    accelerator: str
    """The catalog's name of the device that the estimates are for."""
    device: Literal["cpu", "cuda"] = "cpu"
    models: tuple[str, ...] = MODELS
    sequence_length: int = 256
    batch_size: int = 2
    """Samples of a training step; sequences decoded at once."""
    steps: int = 5
    """Timed after two to warm up."""

    @property
    def precision(self) -> str:
        """What people use on such a device."""
        return "bf16-autocast" if self.device == "cuda" else "fp32"


@dataclass(frozen=True)
class Case:
    """One model doing one thing."""

    model: str
    activity: Activity
    setup: Setup

    def request(self) -> dict[str, Any]:
        """The estimate request of what is run."""
        training = self.activity == "training"
        return {
            "model": {"kind": "catalog", "name": self.model},
            "workload": self._training() if training else self._decoding(),
            "hardware": {"accelerator": self.setup.accelerator, "count": 1},
        } | ({"layout": {"tensor": 1, "pipeline": 1, "zero_stage": 0}} if training else {})

    def task(self, config: dict[str, Any]) -> dict[str, Any]:
        """What the measuring process is told, beside the model's config.json."""
        setup = self.setup
        return {
            "config": config,
            "activity": self.activity,
            "device": setup.device,
            "sequence_length": setup.sequence_length,
            "batch_size": setup.batch_size,
            "steps": setup.steps,
        }

    def _training(self) -> dict[str, Any]:
        setup = self.setup
        return {
            "kind": "pretraining",
            "tokens": setup.steps * setup.batch_size * setup.sequence_length,
            "sequence_length": setup.sequence_length,
            "global_batch_size": setup.batch_size,
            "micro_batch_size": setup.batch_size,
            "precision": setup.precision,
            "optimizer": "adamw",
            "recomputation": "none",
            "attention": "sdpa",
            "implementation": "modules",
        }

    def _decoding(self) -> dict[str, Any]:
        stored = "bf16" if self.setup.device == "cuda" else "fp32"
        return {
            "kind": "inference",
            "prompt_tokens": self.setup.sequence_length,
            "output_tokens": self.setup.steps,
            "concurrency": self.setup.batch_size,
            "weights": stored,
            "kv_cache": stored,
            "engine": "transformers",
        }


def cases(setup: Setup) -> tuple[Case, ...]:
    """Each model trains, then decodes."""
    activities: tuple[Activity, ...] = ("training", "decoding")
    return tuple(Case(model, activity, setup) for model in setup.models for activity in activities)
