"""What one network costs to serve, folded once for a pair of formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from service.core import kv_cache
from service.core.architecture.network import Network
from service.core.architecture.operators import Attention, Linear
from service.core.architecture.polynomial import ZERO, Polynomial
from service.core.architecture.traffic import Choice, moved
from service.core.architecture.tree import Placed
from service.core.compute import Pairs, attention_flops
from service.core.formats import formats
from service.core.numeric import Number, minimum
from service.core.parallelism import Kernels
from service.core.weight_formats import lookup_table, stored_bytes


@dataclass(frozen=True)
class ServingTable:
    """The figures of one network in one pair of formats."""

    weights_bytes: Number
    step_bytes: Number
    """Of these, what each decode step reads: no routed experts, input embedding, encoder."""
    expert_bytes: Number
    """Routed experts, all of them."""
    experts: Number
    active_experts: Number
    token_flops: Number
    """Matrix FLOPs of decoding one token, without the experts', the head's and attention's."""
    expert_flops: Number
    """Matrix FLOPs of one token in its routed experts."""
    head_flops: Number
    """Of the output projection, which a prompt needs for its last token only."""
    prompt: Polynomial
    """Matrix FLOPs of a prompt by its length, without the experts', the head's and attention's."""
    prompt_pairs: Pairs
    """Attention FLOPs of a prompt."""
    contexts: tuple[tuple[Number, Number], ...]
    """(window, attention FLOPs a token of context) of decoding one token."""
    crossed: Polynomial
    """Attention FLOPs of one token over an encoder's input, by the input's length."""
    layers: Number
    reduced: Number
    """Elements a token that tensor parallelism sums over ranks in one forward pass."""
    dispatched: Number
    """Of these, what routed experts give."""
    moved: Number
    """Bytes a token that kernels read and write beside weights and caches, tensor ways divide."""
    moved_whole: Number
    """The same that every rank moves."""
    launches: Number
    """Kernels of one forward pass of PyTorch's modules."""
    hidden: Number
    widest: Number
    """Elements of a token's largest intermediate result."""
    vocabulary: Number
    cache: kv_cache.CacheTable


_INFINITE = 1e18
_FUSED = Kernels(precision="bf16", implementation="fused")
_MODULES = Kernels(precision="bf16", implementation="modules")
_NO_CONTEXT = (1.0, 0.0)
"""Stands first, so that tables of different lengths can be filled up with it."""


@lru_cache(maxsize=256)
def table(network: Network, weights: str = "bf16", cache: str = "bf16") -> ServingTable:
    """The serving figures of a network. Raises UnknownFormat and UnknownCacheFormat."""
    encoding = _encoding_layers(network)
    lookup = lookup_table(network)
    total = step = expert = 0.0
    for leaf, _, size in stored_bytes(network, weights):
        total += size
        if leaf.routing:
            expert += size
        elif leaf.operator is not lookup and _decodes(leaf, encoding):
            step += size
    routed = [leaf.routing for leaf in network.leaves() if leaf.routing]
    decoder = [leaf for leaf in network.leaves() if _decodes(leaf, encoding)]
    prompt = [leaf for leaf in network.leaves() if _prompts(leaf, encoding)]
    return ServingTable(
        weights_bytes=total,
        step_bytes=step,
        expert_bytes=expert,
        experts=float(routed[0].count) if routed else 0.0,
        active_experts=float(routed[0].active) if routed else 0.0,
        token_flops=_sum(_products(decoder)).linear,
        expert_flops=sum(leaf.operator.flops() * leaf.uses for leaf in decoder if leaf.routing),
        head_flops=_head_flops(network),
        prompt=_sum(_products(prompt)),
        prompt_pairs=_pairs(prompt),
        contexts=(_NO_CONTEXT, *_contexts(decoder)),
        crossed=_sum(_crossed(decoder)),
        layers=float(network.layers),
        reduced=float(sum(_reduced(leaf) for leaf in decoder)),
        dispatched=float(sum(_reduced(leaf) for leaf in decoder if leaf.routing)),
        **_moved((leaf, n) for leaf, n in network.stage() if _decodes(leaf, encoding)),
        hidden=float(network.hidden_size),
        widest=float(max(_widths(network), default=0.0)),
        vocabulary=float(network.vocabulary),
        cache=kv_cache.table(network, cache),
    )


def compute_format(weights: str) -> str:
    """The number format of the products with weights stored so.

    llama.cpp multiplies its quantised blocks in 8-bit integers; other engines unpack weights of
    4 bits and GPTQ's to 16 bits, except NVFP4, whose products run in fp4 where the device can.
    """
    if weights.startswith("gguf:"):
        return "fp16" if weights in ("gguf:F16", "gguf:BF16") else "int8"
    if weights.startswith("fp8"):
        return "fp8"
    return {"nvfp4": "fp4", "int8": "int8", "fp32": "tf32"}.get(weights, "bf16")


def format_class(weights: str) -> str:
    """The family of kernels that read weights stored so."""
    if weights.startswith("gguf:"):
        return "16-bit" if weights in ("gguf:F16", "gguf:BF16") else "gguf"
    return {"bf16": "16-bit", "fp16": "16-bit"}.get(weights, weights.split("-")[0])


def _encoding_layers(network: Network) -> frozenset[int]:
    """First indices of the layer groups that only read the input: attention without a mask."""
    found: set[int] = set()
    for group in network.layer_groups():
        attentions = [x.operator for x in group.leaves if isinstance(x.operator, Attention)]
        own = [a for a in attentions if a.keys is None]
        if network.causal and own and not any(a.causal for a in own):
            found.add(group.first)
    return frozenset(found)


def _decodes(leaf: Placed, encoding: frozenset[int]) -> bool:
    """Whether each new token passes through the leaf."""
    return leaf.stream.per_token > 0 and leaf.first_layer not in encoding


def _prompts(leaf: Placed, encoding: frozenset[int]) -> bool:
    """Whether the prompt does: in an encoder-decoder only through the encoder."""
    return not encoding or leaf.first_layer in encoding or leaf.stream.per_token == 0


def _moved(leaves: Iterable[tuple[Placed, int]]) -> dict[str, float]:
    """Activations that a token's forward pass moves under fused kernels, and modules' kernels.

    `leaves`: those of one layer of each kind, with the number of such layers.
    """
    choice, modules = (Choice(kernels, formats(kernels)) for kernels in (_FUSED, _MODULES))
    divided = whole = launches = 0.0
    for leaf, count in leaves:
        forward = moved(leaf, choice).forward
        if not (isinstance(leaf.operator, Linear) and leaf.operator.head):
            tokens = leaf.stream.positions().linear * leaf.uses * count
            divided += tokens * (forward.io_tensor + forward.tensor)
            whole += tokens * (forward.io_whole + forward.whole)
        repeats = leaf.uses / leaf.routing.active if leaf.routing else leaf.uses
        launches += moved(leaf, modules).forward.kernels * repeats * count
    return {"moved": divided, "moved_whole": whole, "launches": launches}


def _products(leaves: list[Placed]) -> Iterator[Polynomial]:
    for leaf in leaves:
        head = isinstance(leaf.operator, Linear) and leaf.operator.head
        if not isinstance(leaf.operator, Attention) and not head and not leaf.routing:
            yield leaf.stream.positions().scaled(leaf.operator.flops() * leaf.uses)


def _sum(parts: Iterator[Polynomial]) -> Polynomial:
    total = ZERO
    for part in parts:
        total = total.plus(part)
    return total


def _head_flops(network: Network) -> float:
    head = network.head_position()
    return head.operator.flops() if head else 0.0


def _pairs(leaves: list[Placed]) -> Pairs:
    """Attention of a prompt over itself."""
    causal, full = ZERO, ZERO
    windowed: dict[float, float] = {}
    for leaf in leaves:
        operator = leaf.operator
        if not isinstance(operator, Attention) or operator.keys is not None:
            continue
        if operator.window is not None and operator.causal:
            flops = operator.pair_flops() * leaf.uses
            windowed[operator.window] = windowed.get(operator.window, 0.0) + flops
        elif operator.causal:
            causal = causal.plus(attention_flops(leaf))
        else:
            full = full.plus(attention_flops(leaf))
    return Pairs(causal, full, ((1.0, 0.0), *sorted(windowed.items())))


def _contexts(leaves: list[Placed]) -> Iterator[tuple[float, float]]:
    found: dict[float, float] = {}
    for leaf in leaves:
        operator = leaf.operator
        if isinstance(operator, Attention) and operator.keys is None:
            window = float(operator.window or _INFINITE)
            found[window] = found.get(window, 0.0) + _decode_pair_flops(operator) * leaf.uses
    yield from sorted(found.items())


def _decode_pair_flops(attention: Attention) -> float:
    """A latent cache is attended to as it is: each head scores and sums the whole latent."""
    if attention.latent_cache is not None:
        return 4.0 * attention.heads * attention.latent_cache
    return attention.pair_flops()


def _crossed(leaves: list[Placed]) -> Iterator[Polynomial]:
    for leaf in leaves:
        operator = leaf.operator
        if isinstance(operator, Attention) and operator.keys is not None:
            yield operator.keys.positions().scaled(operator.pair_flops() * leaf.uses)


def _reduced(leaf: Placed) -> float:
    """Elements of a token that the leaf's result sums over ranks; experts are summed first."""
    operator = leaf.operator
    if not isinstance(operator, Linear) or operator.split != "row":
        return 0.0
    active = max(leaf.routing.active, 1.0) if leaf.routing else 1.0
    return operator.outputs * leaf.uses / active


def _widths(network: Network) -> Iterator[float]:
    for leaf in network.leaves():
        operator = leaf.operator
        if isinstance(operator, Linear) and not operator.head and leaf.first_layer is not None:
            yield max(operator.inputs, operator.outputs) * max(
                leaf.routing.active if leaf.routing else 1.0, 1.0
            )


def context_flops(table: ServingTable, context: Number, input_tokens: Number) -> Number:
    """Attention FLOPs of decoding one token that sees `context` tokens."""
    flops = table.crossed.at(input_tokens)
    for window, per_token in table.contexts:
        flops = flops + per_token * minimum(context, window)
    return flops
