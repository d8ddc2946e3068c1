"""How fast devices train a model of which only the size is known.

A ladder of LLaMA-like networks is estimated as /estimate does it, each with the layout that is
chosen there. What lies between two rungs is on the straight line between them in the logarithms,
so that the spend of a run is a continuous function of its size. Floats or arrays.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import takewhile
from typing import NamedTuple, Protocol

import numpy as np

from service.api.request_models import SizeModel
from service.api.requests import EstimateRequest
from service.api.resolve.layouts import choose, most_devices
from service.api.resolve.ledger import Ledger
from service.api.resolve.open_jobs import described
from service.core import energy, parameters
from service.core.architecture.families import registry
from service.core.architecture.network import Network
from service.core.estimate import DOES_NOT_FIT, Estimate, Prepared, evaluate, prepare
from service.core.hardware import Accelerator
from service.core.layout_choice import admission_of_states
from service.core.layout_space import Question
from service.core.numeric import FloatArray, Number
from service.core.parallelism import Layout
from service.core.scaling_laws import training_flops
from service.core.spending import Accounting, Draw, Site, spending
from service.core.uncertainty import Interval

WIDTHS = tuple(sorted(share << power for power in range(8) for share in (4, 5, 6)))
"""Hidden sizes of the rungs in 128s, from 512 to 98,304: 46 million to 90 trillion parameters."""
FORMAT = "bf16"

_NOTHING_LESS = "selective"
"""The recomputation that, under fused flash attention, keeps and repeats as much as none does."""
_TOKENS = 1e12
_DEVICE_TOKENS = 1024.0
"""Of a step, the fewest for each of a stated number of devices: Llama 3 405B on 16,384 GPUs
(arXiv 2407.21783, table 4)."""
_EXACT = Interval(1.0, 1.0, 1.0)


class Speed(Protocol):
    """What a run of N parameters makes of the hours of its devices."""

    def flops_per_second(self, size: Number) -> Number:
        """6 N times the tokens a second of a device that is paid for; 0 where N does not fit."""

    def kgco2e_per_hour(self, size: Number) -> Number:
        """Location-based and embodied emissions of a device-hour."""

    def utilization(self, size: float) -> float:
        """Model-FLOPs utilisation."""

    def devices(self, size: float) -> int | None:
        """How many devices train this size; None where nothing says."""

    def hours_spread(self, size: float) -> Interval:
        """The 90 % interval of device-hours, as a ratio to their central value."""

    def kgco2e_spread(self, size: float) -> Interval:
        """The same of a run's emissions."""


@cache
def network(width: int) -> Network:
    """A network with LLaMA's proportions (arXiv 2302.13971, table 2): 32 gives the 7B exactly."""
    hidden = 128 * width
    return registry.build(
        {
            "model_type": "llama",
            "vocab_size": 32_000,
            "hidden_size": hidden,
            "intermediate_size": (8 * hidden // 3 + 255) // 256 * 256,
            "num_hidden_layers": width,
            "num_attention_heads": width,
            "max_position_embeddings": 4_096,
        }
    )


@cache
def sizes() -> tuple[float, ...]:
    """Parameters of the rungs."""
    return tuple(float(parameters.count(network(width)).total) for width in WIDTHS)


def between(size: Number, read: Callable[[int], float]) -> Number:
    """A positive quantity of the rungs at a size; level beyond the ends, 0 next to a 0."""
    if isinstance(size, np.ndarray):
        return _column(size, read)
    known = sizes()
    place = bisect_right(known, size)
    if place in (0, len(known)):
        return read(WIDTHS[max(place - 1, 0)])
    low = read(WIDTHS[place - 1])
    if not low or size == known[place - 1]:
        return low
    high = read(WIDTHS[place])
    share = math.log(size / known[place - 1]) / math.log(known[place] / known[place - 1])
    return low * (high / low) ** share if high else 0.0


def _column(column: FloatArray, read: Callable[[int], float]) -> FloatArray:
    """The same for a column of sizes: of the rungs round them those up to the first 0 are read."""
    known = sizes()
    first = max(bisect_right(known, float(column.min())) - 1, 0)
    last = min(bisect_right(known, float(column.max())), len(known) - 1)
    values = list(takewhile(bool, map(read, WIDTHS[first : last + 1])))
    if not values:
        return np.zeros_like(column)
    rungs = np.array(known[first : first + len(values)])
    line: FloatArray = np.exp(np.interp(np.log(column), np.log(rungs), np.log(values)))
    return np.where((column > rungs[-1]) & (first + len(values) <= last), 0.0, line)


class Rung(NamedTuple):
    """One size with its layout."""

    job: Prepared
    layout: Layout
    paid: float
    """Devices that are paid for: those of the layout, or all that were asked for."""
    answer: Estimate

    @property
    def device_hours(self) -> float:
        """Of _TOKENS, idle devices counted."""
        return float(self.answer.device_hours.value * self.paid / self.layout.devices)


@dataclass(frozen=True)
class Ladder:
    """The speed of the step-time model, on a number of devices or the fewest that fit."""

    accelerator: Accelerator
    count: int | None
    site: Site

    def flops_per_second(self, size: Number) -> Number:
        """See Speed."""
        return between(size, self._rate)

    def kgco2e_per_hour(self, size: Number) -> Number:
        """See Speed."""
        ours = (self.accelerator, self.count, self.site)
        return between(size, lambda width: float(_emissions(width, *ours).value))

    def utilization(self, size: float) -> float:
        """See Speed."""
        return float(between(size, lambda width: self._read(width, _utilization)))

    def devices(self, size: float) -> int | None:
        """See Speed: those of the next rung, where the number is open."""
        if self.count is not None:
            return self.count
        width = WIDTHS[min(bisect_right(sizes(), size), len(WIDTHS) - 1)]
        found = rung(width, self.accelerator, None)
        return None if found is None else int(found.paid)

    def hours_spread(self, size: float) -> Interval:
        """See Speed."""
        found = rung(_below(size), self.accelerator, self.count)
        return _EXACT if found is None else _ratio(found.answer.device_hours)

    def kgco2e_spread(self, size: float) -> Interval:
        """See Speed."""
        found = _emissions(_below(size), self.accelerator, self.count, self.site)
        return _ratio(found) if found.value else _EXACT

    def _rate(self, width: int) -> float:
        return self._read(width, lambda found: _rate(found, width))

    def _read(self, width: int, read: Callable[[Rung], float]) -> float:
        found = rung(width, self.accelerator, self.count)
        return 0.0 if found is None else read(found)


@dataclass(frozen=True)
class Flat:
    """The speed of a stated utilisation, whatever the size."""

    accelerator: Accelerator
    stated: float
    count: int | None
    site: Site

    def flops_per_second(self, size: Number) -> Number:
        """See Speed."""
        return self.accelerator.peak_for(FORMAT) * self.stated

    def kgco2e_per_hour(self, size: Number) -> Number:
        """See Speed."""
        return self._emissions().value

    def kgco2e_spread(self, size: float) -> Interval:
        """See Speed."""
        return _ratio(self._emissions())

    def _emissions(self) -> Interval:
        """Of a device-hour."""
        low, central, high = self.accelerator.embodied_kgco2e
        draw = Draw(
            energy.power_envelope(
                self.accelerator.name, self.accelerator.tdp_watts, self.accelerator.idle_watts
            ),
            _EXACT.times(self.stated),
            energy.power_slope(FORMAT),
            Interval(central, low, high),
        )
        return spending(_EXACT, draw, self.site, 0.0).total_kgco2e

    def utilization(self, size: float) -> float:
        """See Speed."""
        return self.stated

    def devices(self, size: float) -> int | None:
        """See Speed."""
        return self.count

    def hours_spread(self, size: float) -> Interval:
        """See Speed: the utilisation is taken as stated."""
        return _EXACT


@lru_cache(maxsize=1024)
def rung(width: int, accelerator: Accelerator, devices: int | None) -> Rung | None:
    """The estimate of a rung on so many devices, or the fewest that fit; None where none do."""
    request = EstimateRequest(model=SizeModel(kind="size", parameters=1))
    job = described(network(width), request, accelerator, Ledger())
    if admission_of_states(job.question, devices or most_devices(job.question)) == DOES_NOT_FIT:
        return None
    tried = tuple(name for name in job.recomputations if name != _NOTHING_LESS)
    found = _layout(job.question, tried, devices)
    if found is None:
        return None
    layout, recomputation = found
    kernels = replace(job.question.kernels, recomputation=recomputation)
    prepared = prepare(
        job.question.network,
        kernels,
        accelerator,
        int(layout.pipeline),
        job.question.sequence_length,
    )
    answer = evaluate(prepared, layout, _TOKENS, Site(0.0, 1.0), 0.0)
    if answer.admission == DOES_NOT_FIT:
        return None
    return Rung(prepared, layout, float(devices or layout.devices), answer)


def fold_ladder(accelerator: Accelerator) -> None:
    """Make ready what the first question for a best size would wait for.

    Most of it serves any accelerator.
    """
    for width in WIDTHS:
        rung(width, accelerator, None)


def _layout(
    question: Question, recomputations: tuple[str, ...], devices: int | None
) -> tuple[Layout, str] | None:
    """The layout on all devices or, where none divides the batch, on half of them, and so on."""
    if devices is None:
        return choose(question, None, None, recomputations)
    wanted = question.global_batch_size
    while devices >= 1:
        batch = _divisible(
            max(wanted, devices * _DEVICE_TOKENS / question.sequence_length), devices
        )
        asked = question._replace(global_batch_size=batch)
        found = choose(asked, devices, None, recomputations)
        if found is not None:
            return found
        devices //= 2
    return None


@lru_cache(maxsize=4096)
def _emissions(width: int, accelerator: Accelerator, devices: int | None, site: Site) -> Interval:
    """Of a device-hour; devices that stand idle count as such. 0 where none fit."""
    found = rung(width, accelerator, devices)
    if found is None:
        return _EXACT.times(0.0)
    idle = found.device_hours - float(found.answer.device_hours.value)
    accounting = Accounting(idle_device_hours=idle)
    again = evaluate(found.job, found.layout, _TOKENS, site, 0.0, accounting)
    return again.spent.total_kgco2e.times(1.0 / found.device_hours)


def _below(size: float) -> int:
    """The rung at or below a size."""
    return WIDTHS[max(bisect_right(sizes(), size) - 1, 0)]


def _ratio(interval: Interval) -> Interval:
    return interval.times(1.0 / interval.value)


def _divisible(batch: float, devices: int) -> float:
    """The batch, changed so far that a number of devices which is no power of two divides it."""
    odd = devices // (devices & -devices)
    return batch if odd == 1 else float(odd << max(int(batch / odd).bit_length() - 1, 0))


def _rate(found: Rung, width: int) -> float:
    size = float(parameters.count(network(width)).total)
    return float(training_flops(size, _TOKENS) / (found.device_hours * 3600.0))


def _utilization(found: Rung) -> float:
    share = found.layout.devices / found.paid
    return float(found.answer.model_flops_utilization.value * share)
