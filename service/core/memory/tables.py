"""The fold of a network into what the memory formula needs of one pipeline stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from service.core.architecture.kept import Context
from service.core.architecture.modules import Traits, traits
from service.core.architecture.network import Network
from service.core.architecture.operators import Embedding, Linear
from service.core.architecture.tree import Placed
from service.core.formats import formats
from service.core.memory import saved, states
from service.core.memory.calibration import coefficients, folded
from service.core.memory.moments import (
    Layer,
    Moment,
    Site,
    Stack,
    dequantised,
    layer,
    moments,
    weight_amounts,
)
from service.core.memory.saved import Saved
from service.core.memory.states import NOTHING, SplitBytes, States, scaled, sum_of
from service.core.numeric import Number
from service.core.parallelism import Kernels


@dataclass(frozen=True)
class MemoryTable:
    """One pipeline stage of a job, in bytes; floats, or arrays once stacked."""

    states: States
    layers: Saved
    """Kept of one sample from forward to backward inside the layers."""
    outside: Saved
    """Kept outside the layers, the head and the loss not counted."""
    head: Saved
    """Kept of the head and the loss; only the micro-batch that runs backward has it."""
    outputs: Saved
    """The logits, which a training loop that keeps the model's outputs holds to the end."""
    moments: tuple[Moment, ...]
    """The moments at which the backward pass can peak, one micro-batch in flight."""
    key_value_heads: Number
    lasting_gradients: Number
    """1 where gradients have a buffer of their own that outlives a step."""
    offload_optimizer: Number
    """1 where the optimizer states stay in host memory."""
    offload_parameters: Number


@lru_cache(maxsize=512)
def tables(network: Network, kernels: Kernels, pipeline: int = 1, stage: int = 0) -> MemoryTable:
    """The table of one stage, folded once for each network and set of kernels."""
    width = formats(kernels)
    context = Context(kernels, width, _traits(network))
    site = Site(pipeline, stage, network.stored, network.hidden_size)
    leaves = network.stage(pipeline, stage)
    head = [leaf for leaf, _ in leaves if _is_head(leaf)]
    gaps = {id(leaf) for gap in _gaps(network, site).values() for leaf in gap}
    others = [
        (leaf, 1.0)
        for leaf, _ in leaves
        if leaf.first_layer is None and not _is_head(leaf) and id(leaf) not in gaps
    ]
    stack = _stack(network, context, site)
    inside, outside, logits = stack.kept(), saved.total(others, context), _head_kept(head, context)
    held = states.fold(network, kernels, width, pipeline, stage)
    if kernels.recomputed == 1.0:
        held = held._replace(cached=NOTHING)
    beside = held.cached if context.modules else _head_weights(head, context, site)
    beside = sum_of(beside, dequantised(head, site))
    at_loss = inside.plus(outside).plus(logits).plus(_head_backward(head, context))
    start = Moment(at_loss, weights=beside)
    tied, _ = weight_amounts(_tied(head, pipeline), context, site)
    end = Moment(Saved(), held.gradients, tied)
    last, _ = weight_amounts(_tied(head, pipeline) or head, context, site)
    kept = inside.plus(outside)
    around = (end, start, *_at_head(head, context, kept, sum_of(last, held.cached)))
    return MemoryTable(
        held,
        inside,
        outside,
        logits,
        _logits(head[-1], width.compute) if head and context.modules else Saved(),
        moments(around, outside, stack, last),
        held.parameters.key_value_heads,
        *_switches(kernels),
    )


folded(tables.cache_clear)


@lru_cache(maxsize=128)
def _traits(network: Network) -> Traits:
    """How the family is written, with the loss that its adapters bring.

    Adapters in fp32 train under autocast, which takes the loss in fp32; beside a GPTQ or AWQ base
    they follow its 16 bits instead.
    """
    found = traits(network.model_type, network.causal)
    wide = any(
        isinstance(leaf.operator, Linear) and leaf.operator.adapter == "fp32"
        for leaf in network.distinct()
    )
    grouped = network.stored.startswith(("gptq", "awq"))
    return found._replace(logits_fp32=True) if wide and not grouped else found


def _tied(head: list[Placed], pipeline: int) -> list[Placed]:
    """A tied matrix gets two gradients, one from each use, before they are added."""
    if pipeline > 1:
        return []
    return [
        leaf._replace(operator=replace(leaf.operator, tied=False))
        for leaf in head
        if isinstance(leaf.operator, Linear) and leaf.operator.tied
    ]


def _switches(kernels: Kernels) -> tuple[float, float, float]:
    return (
        1.0 if kernels.implementation == "fused" else 0.0,
        0.0 if kernels.offload == "none" else 1.0,
        1.0 if kernels.offload == "parameters" else 0.0,
    )


def _is_head(leaf: Placed) -> bool:
    return isinstance(leaf.operator, Linear) and leaf.operator.head


def _stack(network: Network, context: Context, site: Site) -> Stack:
    """The layers of a stage; those of one kind are folded once.

    Where recomputation covers a part of the layers, each run has that part first. What stands
    between two towers runs backward between them.
    """
    parts = _parts(context)
    known: dict[int, int] = {}
    stack = Stack((), ())
    gaps, reached = _gaps(network, site), 0
    before: tuple[Placed, ...] = ()
    for leaves, count in network.runs(site.pipeline, site.stage):
        if before and leaves[0] == before[0]._replace(reused=True) != before[0]:
            stack = _sharing(stack, before, count, parts, site)
        else:
            if id(leaves) not in known:
                known[id(leaves)] = len(stack.kinds)
                stack = stack.knowing(layer(leaves, part, site) for part, _ in parts)
            stack = stack.running(known[id(leaves)], parts, count)
            before = leaves
        reached += count
        if reached in gaps:
            gap = _gap(gaps[reached], _ties(network), context, site)
            stack = stack.knowing([gap]).running(len(stack.kinds), ((context, 1.0),), 1)
    return stack


def _parts(context: Context) -> tuple[tuple[Context, float], ...]:
    """The kinds of recomputation in a run of layers, and their shares of it."""
    share = context.kernels.recomputed
    if not 0.0 < share < 1.0:
        return ((context, 1.0),)
    ways = (("full", share), ("none", 1.0 - share))
    return tuple((_recomputing(context, way), part) for way, part in ways)


def _ties(network: Network) -> bool:
    top = network.head_position()
    return top is not None and isinstance(top.operator, Linear) and top.operator.tied


def _sharing(
    stack: Stack,
    leaves: tuple[Placed, ...],
    count: int,
    parts: tuple[tuple[Context, float], ...],
    site: Site,
) -> Stack:
    """The stack with `count` more layers that use the weights of its last one."""
    uses = [_shared(layer(leaves, part, site, shared=True)) for part, _ in parts]
    first, others, last = ([use[place] for use in uses] for place in range(3))
    number = len(parts)
    stack = stack._replace(kinds=(*stack.kinds[:-number], *first)).knowing(others).knowing(last)
    start = len(stack.kinds) - 2 * number
    return stack.running(start, parts, count - 1).running(start + number, parts, 1)


def _shared(one: Layer) -> tuple[Layer, Layer, Layer]:
    """The first, the others and the last of layers that share their weights.

    Copies are held until the first one's backward, gradients from the last one's on.
    """
    first = one._replace(gradients=NOTHING)
    return first, first._replace(cached=NOTHING), one._replace(cached=NOTHING)


def _gaps(network: Network, site: Site) -> Mapping[int, tuple[Placed, ...]]:
    """What stands between layers, by how many of them come before."""
    return network.between if site.pipeline == 1 else {}


def _gap(leaves: tuple[Placed, ...], tied: bool, context: Context, site: Site) -> Layer:
    """What stands between two towers, as a layer that is never recomputed.

    The gradient of a table that the head shares is added to the head's.
    """
    kept = saved.total([(leaf, 1.0) for leaf in leaves], context)
    own = [leaf for leaf in leaves if not (tied and _is_table(leaf))]
    nothing = Moment(Saved())
    return Layer(kept, (nothing, nothing), *weight_amounts(own, context, site))


def _is_table(leaf: Placed) -> bool:
    return isinstance(leaf.operator, Embedding) and leaf.operator.input


def _recomputing(context: Context, recomputation: str) -> Context:
    return replace(context, kernels=replace(context.kernels, recomputation=recomputation))


def _head_kept(head: list[Placed], context: Context) -> Saved:
    """The input of the head, and the fp32 log-probabilities that the loss keeps."""
    if not head:
        return Saved()
    result = saved.total([(leaf, 1.0) for leaf in head], context)
    return result.plus(_logits(head[-1], _loss_bytes(context)[0]))


def _head_backward(head: list[Placed], context: Context) -> Saved:
    """What is alive beside while the loss runs backward."""
    if not head:
        return Saved()
    result = _logits(head[-1], _loss_bytes(context)[1])
    if context.modules:
        return result
    copies = coefficients()["fused_hidden_copies"] * context.formats.compute
    width = getattr(head[-1].operator, "inputs", 0)
    return result.plus(Saved(full=head[-1].stream.positions().scaled(copies * width)))


def _at_head(
    head: list[Placed], context: Context, kept: Saved, weights: SplitBytes
) -> tuple[Moment, ...]:
    """The head makes the gradient of its matrix, while that of the logits and all else is held."""
    if not head or not context.modules:
        return ()
    entry = saved.total([(leaf, 1.0) for leaf in head], context)
    logits = _logits(head[-1], context.formats.compute)
    return (Moment(kept.plus(entry).plus(logits), weights=weights),)


def _head_weights(head: list[Placed], context: Context, site: Site) -> SplitBytes:
    """The gradient of the head, at compute precision, before it is added to its buffer."""
    gradients, _ = weight_amounts(_tied(head, 1) or head, context, site)
    return scaled(gradients, context.formats.compute / context.formats.gradient)


def _loss_bytes(context: Context) -> tuple[float, float]:
    """(kept, made in backward) for one logit.

    PyTorch's cross entropy keeps the log-probabilities and makes two gradients of their format;
    most causal models take it on an fp32 copy of the logits. A fused one works in place.
    """
    traits, e = context.traits, context.formats.compute
    if not context.modules:
        return e, e * (coefficients()["fused_logit_copies"] - 1.0)
    capped = e if traits.logit_cap else 0.0
    if traits.logits_fp32:
        return 4.0 + capped, 8.0
    if context.formats.autocast:
        return e + 4.0 + capped, 4.0
    return e + capped, 2.0 * e


def _logits(leaf: Placed, element: float) -> Saved:
    operator = leaf.operator
    assert isinstance(operator, Linear)
    return Saved(tensor=leaf.stream.positions().scaled(element * operator.outputs * leaf.uses))
