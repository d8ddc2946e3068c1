"""Fine-tuning as a change of the tree: frozen bases, adapters, and the models held beside.

LoRA (Hu et al. 2021, arXiv 2106.09685) adds to a frozen product `x W^T` the trained low-rank
`x A^T B^T`; QLoRA (Dettmers et al. 2023, arXiv 2305.14314) stores the frozen matrices in four
bits. Preference and reinforcement objectives keep further models in memory: a frozen reference,
a reward model, a critic, a copy that generates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from service.core.architecture.network import Network
from service.core.architecture.operators import Dropout, Linear, Operator, Parameter, Split
from service.core.architecture.tree import Block

ALL_LINEAR = "all-linear"
"""Adapts each product except the head, as PEFT's option of that name."""


HEAD_TOO = "+head"
"""Marks a stored format that covers the head as well."""


class UnknownTarget(ValueError):
    """An adapter's target that names no product of the network."""


@dataclass(frozen=True)
class Adapters:
    """Low-rank adapters on the products with the names in `targets`."""

    rank: int
    targets: tuple[str, ...]
    dropout: float = 0.0
    number_format: str = "fp32"
    """Of the adapters' weights: PEFT keeps them in fp32 beside a 16-bit base; `base` follows
    the base."""
    base_format: str = ""
    """How the frozen matrices are stored: `nf4`, `nf4-double`, `int8`, `gptq-int4-g128` ...;
    empty where they keep their 16 bits."""
    quantised_head: bool = False
    """The head is stored in the base format too (LitGPT); PEFT leaves it alone."""
    trained: tuple[str, ...] = ()
    """Modules trained in full beside their frozen originals (PEFT's `modules_to_save`)."""


@lru_cache(maxsize=64)
def adapted(network: Network, adapters: Adapters) -> Network:
    """The network with its own weights frozen and adapters beside the targets.

    Raises UnknownTarget where a target names no product.
    """
    known = frozenset(product_names(network.root))
    unknown = [name for name in adapters.targets if name not in known and name != ALL_LINEAR]
    if unknown:
        raise UnknownTarget(
            f"no product is named {unknown[0][:60]!r}; this network has {', '.join(sorted(known))}"
        )
    root = _adapt(network.root, adapters)
    stored = adapters.base_format + (HEAD_TOO if adapters.quantised_head else "")
    return replace(network, root=root, stored=stored if adapters.base_format else network.stored)


def product_names(block: Block) -> Iterator[str]:
    """The names of the products that adapters can stand beside."""
    for child in block.children:
        if isinstance(child, Block):
            yield from product_names(child)
        elif isinstance(child, Linear) and not child.head:
            yield child.name


def frozen(network: Network) -> Network:
    """The network with none of its weights trained."""
    return replace(network, root=replace(network.root, frozen=True))


def _adapt(block: Block, adapters: Adapters) -> Block:
    children: list[Block | Operator] = []
    for child in block.children:
        if isinstance(child, Block):
            children.append(_adapt(child, adapters))
            continue
        if child.name in adapters.trained:
            children.extend(_beside_original(block.name, child))
            continue
        children.append(Block(block.name, (child,), frozen=True))
        if isinstance(child, Linear) and _is_target(child, adapters):
            children.extend(_beside(child, adapters))
    return replace(block, children=tuple(children))


def _beside_original(name: str, child: Operator) -> Iterator[Block | Operator]:
    """A module trained in full, and its frozen original."""
    originals = tuple(Parameter(weight.name, weight.shape) for weight in child.weights())
    yield Block(name, originals, frozen=True)
    yield child


def _is_target(product: Linear, adapters: Adapters) -> bool:
    everything = ALL_LINEAR in adapters.targets and not product.head
    return everything or product.name in adapters.targets


def _beside(product: Linear, adapters: Adapters) -> Iterator[Operator]:
    split = Split.TENSOR if product.split == "row" else Split.WHOLE
    if adapters.dropout > 0:
        yield Dropout("lora_dropout", product.inputs, adapters.dropout, split)
    yield Linear(
        "lora_A",
        product.inputs,
        adapters.rank,
        split="row" if product.split == "row" else "none",
        keeps_input=product.keeps_input,
        adapter=adapters.number_format,
    )
    yield Linear(
        "lora_B",
        adapters.rank,
        product.outputs,
        split="column" if product.split == "column" else "none",
        key_value_heads=product.key_value_heads if product.split == "column" else None,
        adapter=adapters.number_format,
    )


@dataclass(frozen=True)
class Objective:
    """What training towards an objective holds beside the policy.

    Copies are in units of the policy's own weights at compute precision.
    """

    frozen_copies: float = 0.0
    """Reference and reward models, and a rollout copy."""
    trained_copies: float = 0.0
    """A critic: weights, gradients and states of its own."""
    sequences: float = 1.0
    """Sequences of one sample that run forward and backward together."""
    adapter_copies: float = 0.0
    """Frozen copies that remain where the policy is an adapter on a shared base."""
    rollout: bool = False
    """Generates while training, and holds a cache for it."""
    trained_sequences: float = 1.0
    """Sequences of one sample that each trained model runs forward and backward."""
    forward_sequences: float = 0.0
    """Sequences of one sample that run forward only, over all models of the policy's size."""


OBJECTIVES: Mapping[str, Objective] = {
    "sft": Objective(),
    "dpo": Objective(1.0, sequences=2.0, trained_sequences=2.0, forward_sequences=2.0),
    "dpo-precomputed": Objective(sequences=2.0, trained_sequences=2.0),
    "kto": Objective(1.0, sequences=2.0, forward_sequences=3.0),
    "orpo": Objective(sequences=2.0, trained_sequences=2.0),
    "simpo": Objective(sequences=2.0, trained_sequences=2.0),
    "ppo": Objective(2.0, 1.0, adapter_copies=1.0, rollout=True, forward_sequences=4.0),
    "grpo": Objective(2.0, adapter_copies=1.0, rollout=True, forward_sequences=2.0),
    "grpo-no-reference": Objective(1.0, adapter_copies=1.0, rollout=True, forward_sequences=1.0),
}
"""PPO: reference, reward and critic, all of the policy's size, and it generates with the policy
itself. GRPO: reference and a rollout copy (an inference engine beside the trainer); without a
reference where its KL weight is 0. An adapter is its own reference when switched off. Preference
objectives run the chosen and the rejected answer together.

Forward only: DPO's reference sees both answers (Rafailov et al. 2023, arXiv 2305.18290, equation
7), unless its log-probabilities were computed once before. KTO trains one answer and runs another
prompt's answer through the policy, and the reference sees both (Ethayarajh et al. 2024, arXiv
2402.01306, section 4.1). PPO's samples pass through the policy, the reference, the reward model
and the critic (Ouyang et al. 2022, arXiv 2203.02155), GRPO's through policy and reference, with
rewards that take no model (Shao et al. 2024, arXiv 2402.03300, section 4.1)."""
