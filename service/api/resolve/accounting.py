"""What is counted beside the run: the request's accounting, with its defaults recorded."""

from __future__ import annotations

from service.api.request_terms import AccountingSpec
from service.api.resolve.ledger import Ledger
from service.core.carbon import LIFETIME_UTILIZATION, LIFETIME_YEARS
from service.core.spending import Accounting

_ALONE = AccountingSpec()
_LIFETIME = "as in cloud-carbon-footprint"
_IN_USE = "an assumption; embodied emissions are spread over the hours in use"


def accounting(spec: AccountingSpec | None, ledger: Ledger) -> Accounting:
    """The accounting of a request; nothing beside the run itself unless it says so."""
    given = spec or _ALONE
    if given.programme_factor is not None:
        ledger.assume("/accounting/programme_factor", given.programme_factor, "request")
    if given.idle_device_hours is not None:
        ledger.assume("/accounting/idle_device_hours", given.idle_device_hours, "request")
    field = "/accounting/hardware_"
    return Accounting(
        given.programme_factor or 1.0,
        given.idle_device_hours or 0.0,
        ledger.choose(
            field + "lifetime_years", given.hardware_lifetime_years, LIFETIME_YEARS, _LIFETIME
        ),
        ledger.choose(
            field + "utilization", given.hardware_utilization, LIFETIME_UTILIZATION, _IN_USE
        ),
    )
