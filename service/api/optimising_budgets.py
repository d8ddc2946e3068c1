"""The budget of a request, and what a run of any size spends on its devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from service.api.compute_optimal_requests import (
    Budget,
    CarbonBudget,
    ComputeOptimalRequest,
    DeadlineBudget,
    DeviceHoursBudget,
    UsdBudget,
)
from service.api.problems import at
from service.api.resolve import places, prices
from service.api.resolve.ledger import Ledger
from service.api.resolve.sized import Flat, Ladder, Speed
from service.catalog.snapshot import Snapshot
from service.core import scaling_laws as laws
from service.core.hardware import Accelerator

OnDevices = DeviceHoursBudget | UsdBudget | CarbonBudget | DeadlineBudget
Spend = Any
"""(parameters, tokens) -> what training them uses up."""


@dataclass(frozen=True)
class Runs:
    """What runs take place on, and what they spend by their size and tokens."""

    accelerator: Accelerator
    speed: Speed
    usd_per_hour: float | None

    @property
    def hours(self) -> Spend:
        """Device-hours."""
        return laws.device_hours(self._rate)

    @property
    def usd(self) -> Spend | None:
        """Money; None without a price."""
        price = self.usd_per_hour
        return None if price is None else laws.per_device_hour(self._rate, price)

    @property
    def kgco2e(self) -> Spend:
        """Emissions."""
        return laws.per_device_hour(
            self._rate, lambda parameters, tokens: self.speed.kgco2e_per_hour(parameters)
        )

    def wall_clock(self, devices: int) -> Spend:
        """Hours by the clock."""
        return laws.wall_clock_hours(self._rate, float(devices))

    def _rate(self, parameters: Any, tokens: Any) -> Any:
        return self.speed.flops_per_second(parameters)


def resolve(
    request: ComputeOptimalRequest, snapshot: Snapshot, ledger: Ledger
) -> tuple[laws.Budget, Runs | None]:
    """The budget, and its runs where anything is said of devices. Raises ProblemError."""
    given = request.budget
    if not isinstance(given, OnDevices):
        runs = _runs(given, snapshot, ledger) if given.names_devices else None
        return laws.Budget(given.kind, given.value), runs
    runs = _runs(given, snapshot, ledger)
    if isinstance(given, DeadlineBudget):
        spend = runs.wall_clock(given.devices)
        return laws.Budget("deadline_hours", given.hours, spend), runs
    if isinstance(given, UsdBudget) and not runs.usd_per_hour:
        detail = "a budget in money needs a price above 0; send pricing.usd_per_device_hour"
        raise at("unknown-price", "/budget/pricing", detail)
    spends = {"device_hours": runs.hours, "usd": runs.usd, "kgco2e": runs.kgco2e}
    return laws.Budget(given.kind, given.value, spends[given.kind]), runs


def _runs(given: Budget, snapshot: Snapshot, ledger: Ledger) -> Runs:
    accelerator = places.accelerator(snapshot, given.accelerator, ledger, "/budget/accelerator")
    place = places.place(snapshot, given.site, ledger, "/budget")
    day = prices.day_of(None, snapshot)
    price = prices.price(
        snapshot, given.pricing, accelerator.name, day, ledger, "/budget/pricing", place.region
    )
    usd = None if price is None else price.usd_per_device_hour
    if given.utilization is not None:
        flat = Flat(accelerator, given.utilization, given.devices, place.site)
        return Runs(accelerator, flat, usd)
    source = "the model of step time, on LLaMA-like networks of the sizes that come out"
    ledger.assume("/budget/utilization", None, "calibration", source)
    if given.devices is None:
        ledger.assume("/budget/devices", None, "search", "the fewest on which each size fits")
    return Runs(accelerator, Ladder(accelerator, given.devices, place.site), usd)
