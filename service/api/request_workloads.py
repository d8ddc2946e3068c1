"""What is to be done with the model: pre-training, fine-tuning or inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from service.api.bounded import (
    Amount,
    ApiModel,
    BatchSize,
    Degree,
    Name,
    SequenceLength,
    Whole,
)
from service.api.request_serving import DraftSpec, LoadSpec

Precision = Literal[
    "fp32", "bf16", "fp16", "bf16-autocast", "fp16-autocast", "bf16-mixed", "fp16-mixed",
    "fp8-mixed",
]  # fmt: skip
Optimizer = Literal[
    "adamw", "adamw-8bit", "adafactor", "lion", "muon", "sgd", "sgd-momentum"
]  # fmt: skip
Recomputation = Literal["none", "selective", "half", "full"]
AttentionKind = Literal["eager", "sdpa", "flash"]
Implementation = Literal["fused", "modules"]
Offload = Literal["none", "optimizer", "parameters"]
Method = Literal["full", "lora", "qlora"]
Objective = Literal[
    "sft", "dpo", "dpo-precomputed", "kto", "orpo", "simpo", "ppo", "grpo", "grpo-no-reference"
]
PrefixLength = Annotated[Whole, Field(ge=0, le=100_000_000)]
Engine = Literal["vllm", "sglang", "tensorrt-llm", "llama.cpp", "transformers"]


class TrainingWorkload(ApiModel):
    """What pre-training and fine-tuning have in common. What is left out gets a default."""

    tokens: Amount | None = Field(
        None, description="Tokens seen in all. Samples for models without tokens."
    )
    sequence_length: SequenceLength | None = Field(None, description="Tokens of one sample.")
    global_batch_size: BatchSize | None = Field(None, description="Samples an optimizer step.")
    micro_batch_size: BatchSize | None = Field(
        None, description="Samples that one device (or model-parallel group) runs at once."
    )
    precision: Precision | None = None
    optimizer: Optimizer | None = None
    recomputation: Recomputation | None = Field(
        None,
        description="What the backward pass computes again: nothing, the attention scores, or all "
        "of a half of the layers or of every layer.",
    )
    recomputed_share: float | None = Field(
        None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="The share of each stage's layers that full recomputation covers; all of them "
        "if left out. Megatron's `recompute_num_layers` over the layers of a stage.",
    )
    attention: AttentionKind | None = None
    gradient_precision: Literal["fp32", "bf16"] | None = Field(
        None, description="Where gradients are accumulated under the mixed precisions."
    )
    implementation: Implementation | None = Field(
        None,
        description="`fused`: Megatron-style kernels; `modules`: PyTorch modules as in "
        "transformers.",
    )
    offload: Offload | None = Field(None, description="What is kept in host memory.")


class PretrainingWorkload(TrainingWorkload):
    """Training all weights from scratch."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "pretraining",
                    "tokens": 1.5e13,
                    "sequence_length": 8192,
                    "global_batch_size": 1024,
                    "precision": "bf16-mixed",
                    "optimizer": "adamw",
                }
            ]
        }
    )

    kind: Literal["pretraining"]


class FinetuningWorkload(TrainingWorkload):
    """Training a finished model further, in full or through adapters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"kind": "finetuning", "method": "lora", "rank": 16, "tokens": 1e7},
            ]
        }
    )

    kind: Literal["finetuning"]
    method: Method | None = None
    rank: Degree | None = Field(None, description="Rank of the adapters.")
    targets: list[Name] | None = Field(
        None,
        max_length=1_000,
        description="Names of the linear layers with adapters, as `q_proj`; default: all of the "
        "layers' linear ones.",
    )
    objective: Objective | None = None
    prompt_tokens: SequenceLength | None = Field(
        None,
        description="Of a sample, where the objective generates the rest (ppo, grpo); a quarter "
        "if left out.",
    )
    base_format: Name | None = Field(
        None, description="Format of the frozen weights under qlora, as `nf4-double`."
    )


class InferenceWorkload(ApiModel):
    """Serving: prompts in, tokens out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "inference",
                    "prompt_tokens": 1024,
                    "output_tokens": 256,
                    "concurrency": 16,
                    "weights": "bf16",
                    "kv_cache": "bf16",
                }
            ]
        }
    )

    kind: Literal["inference"]
    prompt_tokens: SequenceLength | None = None
    output_tokens: SequenceLength | None = None
    concurrency: BatchSize | None = Field(None, description="Sequences in progress at once.")
    weights: Name | None = Field(None, description="Weight format: `bf16`, `gguf:Q4_K_M` ...")
    kv_cache: Name | None = Field(None, description="Format of the keys and values.")
    engine: Engine | None = None
    longest_tokens: SequenceLength | None = Field(
        None, description="Prompt and output of the longest request; default: all are alike."
    )
    cached_prefix_tokens: PrefixLength | None = Field(
        None, description="Tokens of each prompt that an earlier request left in the cache."
    )
    draft: DraftSpec | None = Field(
        None, description="Speculative decoding: tokens that a draft proposes."
    )
    load: LoadSpec | None = Field(
        None, description="A rate of requests, for which the fewest devices are sought."
    )


Workload = Annotated[
    PretrainingWorkload | FinetuningWorkload | InferenceWorkload, Field(discriminator="kind")
]
