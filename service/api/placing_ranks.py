"""Options of /places, calculated together and put in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.api.bounded import Predicted
from service.api.mapping import finite, maybe, predicted
from service.api.place_models import Mark, PlaceOption, PlacesRequest
from service.api.placing_jobs import Choice, Job
from service.api.resolve.places import of_catalog
from service.core import cost
from service.core.numeric import FloatArray
from service.core.spending import Accounting, Spending, spending
from service.core.stacking import stack, take
from service.core.uncertainty import Interval

MONEY, CARBON, HOURS = range(3)
"""The criteria, as `Ranked.criteria` has them."""


@dataclass(frozen=True)
class Ranked:
    """Choices with what each comes to; arrays have an element for each."""

    choices: Sequence[Choice]
    spent: Spending
    hours: FloatArray
    """Wall-clock."""
    deadline: float
    """Hours; infinity where there is none."""
    weights: tuple[float, float, float]

    @cached_property
    def criteria(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Money, carbon and hours."""
        return self.spent.usd.value, self.spent.total_kgco2e.value, self.hours

    @cached_property
    def in_time(self) -> NDArray[np.bool_]:
        """Which are expected to end within the deadline."""
        kept: NDArray[np.bool_] = self.hours <= self.deadline
        return kept

    @cached_property
    def order(self) -> NDArray[np.intp]:
        """From best to worst; late ones last."""
        ranked = cost.rank_together(*self.criteria, self.weights)
        return ranked[np.argsort(~self.in_time[ranked], kind="stable")]

    @cached_property
    def pareto(self) -> NDArray[np.bool_]:
        """Those in time that no other one in time beats."""
        kept = np.zeros(len(self.choices), dtype=bool)
        kept[self.in_time] = cost.not_dominated(*(c[self.in_time] for c in self.criteria))
        return kept

    @cached_property
    def ranks(self) -> dict[int, int]:
        """The rank of each, from 1."""
        return {int(index): rank for rank, index in enumerate(self.order, 1)}

    def best(self, criterion: int) -> PlaceOption | None:
        """The least in one criterion, in time; of equals the faster, then the better ranked."""
        values = self.criteria[criterion][self.order]
        found = cost.cheapest_within(values, self.hours[self.order], self.deadline)
        return None if found is None else self.option(int(self.order[found]))

    def first(self, count: int) -> list[PlaceOption]:
        """The best options."""
        return [self.option(int(index)) for index in self.order[:count]]

    def option(self, index: int) -> PlaceOption:
        """One option as callers see it."""
        choice, spent = self.choices[index], take(self.spent, index)
        job, offer = choice
        return PlaceOption(
            rank=self.ranks[index],
            region=offer.region,
            provider=offer.provider,
            accelerator=job.accelerator,
            devices=job.devices,
            devices_rented=choice.rented,
            price=offer.price,
            usd=predicted(spent.usd),
            total_kgco2e=predicted(spent.total_kgco2e),
            market_kgco2e=_known(spent.operational.market_kgco2e),
            energy_kwh=predicted(spent.energy.total_kwh),
            wall_clock_hours=predicted(job.wall_clock_hours),
            device_hours=predicted(job.device_hours),
            grid=of_catalog(offer.site.grid),
            pue=offer.site.pue.value,
            admission=job.admission,
            deadline=self._deadline(job),
            pareto=bool(self.pareto[index]),
            marks=_marks(choice),
        )

    def _deadline(self, job: Job) -> Literal["in_time", "at_risk", "late"] | None:
        if np.isinf(self.deadline):
            return None
        if job.wall_clock_hours.value > self.deadline:
            return "late"
        return "at_risk" if job.wall_clock_hours.high > self.deadline else "in_time"


def _known(amount: Interval | None) -> Predicted | None:
    """An amount that some places state and others do not."""
    missing = amount is None or finite(amount.value) is None
    return None if missing else maybe(amount)


def _marks(choice: Choice) -> list[Mark]:
    if choice.rented > choice.job.devices:
        return [*choice.offer.marks, "larger-slice"]
    return list(choice.offer.marks)


def rank(choices: Sequence[Choice], counted: Accounting, body: PlacesRequest) -> Ranked | None:
    """All choices in one call of the core; None where there is none."""
    if not choices:
        return None
    spent = spending(
        stack([choice.job.device_hours for choice in choices]),
        stack([choice.job.draw for choice in choices]),
        stack([choice.site for choice in choices]),
        np.array([choice.usd_per_device_hour for choice in choices]),
        counted,
    )
    hours = np.array([choice.job.wall_clock_hours.value for choice in choices])
    limit = np.inf if body.deadline_hours is None else body.deadline_hours
    weights = (body.weights.usd, body.weights.kgco2e, body.weights.hours)
    return Ranked(choices, spent, hours, limit, weights)
