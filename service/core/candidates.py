"""A model in a form that it could be served in, what has to be served, and what it comes to."""

from __future__ import annotations

from dataclasses import dataclass

from service.core.architecture.network import Network
from service.core.cost import HOURS_PER_MONTH
from service.core.hardware import Accelerator
from service.core.quality_evidence import Quality
from service.core.serving import ServingJob
from service.core.serving.fleet import Fleet, Target, Traffic
from service.core.uncertainty import Interval


@dataclass(frozen=True)
class Candidate:
    """A model in a form that it could be served in."""

    name: str
    family: str
    network: Network
    accelerator: Accelerator
    weights: str = "bf16"
    cache: str = "bf16"
    engine: str = "vllm"
    dealt: bool | None = None
    """Whether a mixture's sequences are dealt to devices; see `serving.dealing`."""
    techniques: tuple[str, ...] = ()
    """How it differs from the model in use beside its format: `smaller`, `distilled`, `pruned`,
    `adapter`."""
    making_usd: float = 0.0
    """What it costs to make: distillation, pruning, fine-tuning, calibration."""
    making_kgco2e: float = 0.0
    findings: tuple[str, ...] = ()
    """Ids of the findings that measured it against the model in use."""
    escalates_to: Candidate | None = None
    """In a cascade, the larger model that answers what this one passes on."""
    escalated_share: float = 0.0
    """The share of requests that it passes on; the caller's."""

    @property
    def stages(self) -> list[tuple[Candidate, float]]:
        """The models that a request may meet, each with the share of requests that it sees."""
        if self.escalates_to is None:
            return [(self, 1.0)]
        return [(self, 1.0), (self.escalates_to, self.escalated_share)]


@dataclass(frozen=True)
class Need:
    """What has to be served, where, and at what price."""

    traffic: Traffic
    target: Target
    prompt_tokens: float
    output_tokens: float
    task: str
    usd_per_device_hour: float
    grid_gco2e_per_kwh: float
    pue: float = 1.2
    longest_tokens: float | None = None
    """Prompt and output of the longest request."""
    devices_at_hand: int | None = None
    horizon_months: float = 12.0
    """Over which what an option costs to make is spread."""

    @property
    def longest(self) -> float:
        """Tokens of the longest request."""
        return self.longest_tokens or self.prompt_tokens + self.output_tokens

    @property
    def requests_per_month(self) -> float:
        """On average."""
        return self.traffic.requests_per_second * HOURS_PER_MONTH * 3600.0

    def job(self, candidate: Candidate) -> ServingJob:
        """What one replica of a candidate is asked."""
        return ServingJob(
            candidate.weights,
            candidate.cache,
            candidate.engine,
            dealt=candidate.dealt,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            longest_tokens=self.longest_tokens,
        )


@dataclass(frozen=True)
class Option:
    """One candidate under the need."""

    candidate: Candidate
    fit: str
    """`fits` (limits met at the upper end of the intervals), `at_risk` (at the central values
    only), `does_not_fit`."""
    reason: str
    fleets: tuple[Fleet, ...]
    """The candidate's, and in a cascade the larger model's."""
    stored_bytes: float
    parameters: int
    usd_per_month: Interval | None
    kgco2e_per_month: Interval | None
    usd_per_million_output_tokens: Interval | None
    """Of an encoder, per million answers."""
    kgco2e_per_million_output_tokens: Interval | None
    usd_with_making: float | None
    """A month, the making spread over the horizon; so is the next."""
    kgco2e_with_making: float | None
    payback_months: float | None
    """Until the saving has paid for the making; infinite where nothing is saved."""
    quality: Quality

    @property
    def devices(self) -> int:
        """Of all its fleets."""
        return sum(fleet.devices for fleet in self.fleets)

    @property
    def seconds_per_token(self) -> Interval | None:
        """Between output tokens at the peak rate; in a cascade the slower model's."""
        found = [fleet.at_peak.decode_seconds_per_token for fleet in self.fleets]
        return max(found, key=lambda i: i.value) if found else None

    @property
    def pace(self) -> Interval | None:
        """What its speed is compared by: seconds between tokens, or to an encoder's answer."""
        return self.seconds_per_token if self.generates else self.first_token_seconds

    @property
    def generates(self) -> bool:
        """Whether it gives tokens, and not one answer for a request as an encoder does."""
        return self.candidate.network.causal

    @property
    def first_token_seconds(self) -> Interval | None:
        """To the first token, or an encoder's answer, at the peak; in a cascade the slower's."""
        found = [fleet.at_peak.first_token_seconds for fleet in self.fleets]
        return max(found, key=lambda i: i.value) if found else None
