"""The defaults of what a request leaves out, each with the reason that an answer gives for it."""

from __future__ import annotations

from service.core.architecture.network import Network
from service.core.parameters import ParameterCounts

TOKENS_PER_PARAMETER = 20.0
LONGEST_DEFAULT_SEQUENCE = 4_096
FINETUNING_SAMPLES = 30_000.0
IMAGE_SAMPLES = 90.0 * 1_281_167.0
IMAGE_BATCH = 1_024
FINETUNING_BATCH = 64
LORA_RANK = 16
PROMPT_TOKENS = 1_024
OUTPUT_TOKENS = 256

WHY = {
    "workload": "nothing else was said",
    "tokens": "20 tokens a parameter, about compute-optimal (Hoffmann et al. 2022)",
    "samples": "90 epochs of ImageNet-1k, the usual recipe",
    "finetuning_tokens": "30,000 samples: three epochs of 10,000",
    "sequence_length": "the model's limit, at most 4,096",
    "no_sequence": "the model has no tokens: a sample counts as one",
    "global_batch_size": "tokens a step as for models of this size in Brown et al. 2020, table 2.1",
    "micro_batch_size": "the smallest",
    "precision": "16-bit parameters with fp32 master weights, as Megatron and DeepSpeed do",
    "finetuning_precision": "16-bit weights and states, as PEFT and TRL recipes do",
    "finetuning_implementation": "PyTorch modules, as transformers and PEFT run them",
    "sharded_implementation": "PyTorch modules, as FSDP and DeepSpeed ZeRO-3 run them",
    "optimizer": "what most models are trained with",
    "recomputation": "nothing is computed twice where memory allows",
    "attention": "fused kernels, which keep no scores",
    "gradient_precision": "fp32 accumulation, as Megatron does",
    "implementation": "Megatron-style fused kernels",
    "offload": "all states stay on the devices",
    "zero_stage": "the optimizer states are divided over data-parallel ranks",
    "degree": "not divided",
    "sequence_parallel": "costs nothing where tensor parallelism is used",
    "count_of_layout": "the fewest devices that the layout can use",
    "chosen": "the fewest devices that fit, then the fastest layout on them",
    "chosen_layout": "the fastest layout that fits on these devices",
    "engine": "the engine with most published measurements",
    "weights": "as most models are published",
    "own_weights": "as the configuration says that the weights are quantised",
    "kv_cache": "as the engines do unless told otherwise",
    "lengths": "a usual exchange",
    "concurrency": "one sequence at a time",
    "lora_rank": "usual for adapters",
    "lora_targets": "all linear layers but the head",
    "objective": "supervised fine-tuning",
    "prompt_tokens": "a quarter of a sample; the rest is generated",
    "method": "adapters, the cheapest that is usual",
    "base_format": "NF4 with double quantisation, as QLoRA does",
}

_BATCH_TOKENS = ((0.8e9, 2**19), (3e9, 2**20), (15e9, 2**21))
_LARGEST_BATCH_TOKENS = 2**22


def tokens(network: Network, counts: ParameterCounts) -> tuple[float, str]:
    """Tokens (samples without tokens) of a pre-training, and why."""
    if not network.tokens:
        return IMAGE_SAMPLES, WHY["samples"]
    return TOKENS_PER_PARAMETER * counts.active, WHY["tokens"]


def sequence_length(network: Network) -> tuple[int, str]:
    """Tokens of one sample, and why."""
    if not network.tokens:
        return 1, WHY["no_sequence"]
    limit = network.sequence_limit or LONGEST_DEFAULT_SEQUENCE
    return min(limit, LONGEST_DEFAULT_SEQUENCE), WHY["sequence_length"]


def global_batch_size(network: Network, counts: ParameterCounts, sequence: float) -> int:
    """Samples of one step: a power of two near what models of this size were trained with."""
    if not network.tokens:
        return IMAGE_BATCH
    wanted = next(
        (batch for size, batch in _BATCH_TOKENS if counts.total <= size), _LARGEST_BATCH_TOKENS
    )
    return power_of_two(wanted / sequence)


def power_of_two(value: float) -> int:
    """The largest power of two that is not above the value, at least 1."""
    return 1 << max(int(value).bit_length() - 1, 0)
