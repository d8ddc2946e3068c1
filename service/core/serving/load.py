"""How a replica is spread and loaded, and the calibrated coefficients of its engine."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.numeric import Number


@dataclass(frozen=True)
class Replica:
    """How one replica is spread and loaded; floats or arrays."""

    tensor: Number = 1.0
    """Ranks that divide the attention and the dense products of one sequence."""
    pipeline: Number = 1.0
    batch: Number = 1.0
    """Sequences in flight together."""
    prompt_tokens: Number = 512.0
    output_tokens: Number = 256.0
    cached_prefix: Number = 0.0
    """Tokens of the prompt whose keys and values are already there."""
    drafted_tokens: Number = 0.0
    """Tokens that a draft proposes for each verification (speculative decoding)."""
    tokens_per_step: Number = 1.0
    """Output tokens of a sequence that one step yields: above 1 with a draft."""
    data: Number = 1.0
    """Attention data parallelism: groups of `tensor` ranks, each with sequences of its own and all
    of the attention and dense weights; routed experts are divided over the ranks of all groups."""

    @property
    def devices(self) -> Number:
        """Devices of one replica."""
        return self.ranks * self.pipeline

    @property
    def ranks(self) -> Number:
        """Devices of one pipeline stage, which are also its expert ways."""
        return self.tensor * self.data

    @property
    def own_sequences(self) -> Number:
        """Sequences in flight in one of the data-parallel groups."""
        return self.batch / self.data


@dataclass(frozen=True)
class Engine:
    """Calibrated coefficients of one (accelerator, engine, kind of weights)."""

    bandwidth_efficiency: Number = 0.75
    """Share of the memory bandwidth reached while weights are read."""
    cache_efficiency: Number = 0.5
    """The same while keys and values are read."""
    compute_efficiency: Number = 0.5
    """Share of the peak reached by the products of a prompt or a large batch."""
    expert_efficiency: Number = 0.6
    """Of that, what the products of routed experts reach, whose matrices see few tokens each."""
    attention_efficiency: Number = 0.3
    """Share of the 16-bit peak reached by attention."""
    link_efficiency: Number = 0.5
    """Share of the link's bandwidth that all-reduces reach."""
    overlap: Number = 0.5
    """How much of the shorter of reading and computing the longer one hides."""
    pipelining: Number = 0.5
    """How much of the ideal gain a long prompt gets from pipeline stages that work at once."""
    stage_cost: Number = 0.08
    """What each further pipeline stage adds to the time of a token, as a share of it."""
    layer_seconds: Number = 50e-6
    """Launches and small kernels of one layer."""
    launch_seconds: Number = 12e-6
    """Host seconds of one kernel that an eager engine launches."""
    tensor_layer_seconds: Number = 15e-6
    """What a layer costs more as soon as it is divided over ranks."""
    dealing_cost: Number = 0.2
    """What attention data parallelism adds to a step, as a share of it: its groups wait for the
    one that has most tokens."""
    sequence_seconds: Number = 15e-6
    """Scheduling and sampling of one sequence a step."""
    step_seconds: Number = 500e-6
    """Scheduling of one step, whatever is in it."""
    eager: Number = 0.0
    """1 where Python launches every kernel, 0 where graphs or compiled code do."""
    first_prompt: Number = 1.2
    """Own prompts' time until the first token."""
    first_steps: Number = 3.0
    """Steps that a request waits before its first token."""
    first_neighbours: Number = 0.05
    """Of each neighbour's prompt, what comes before the own first token."""
