"""Prices: what a provider asks for one device for one hour."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.catalog.facts import Payload, Slug


class PriceFacts(Payload):
    """One line of a price list."""

    provider: Slug
    accelerator: Slug
    accelerator_count: Annotated[int, Field(ge=1, le=100_000)]
    """Devices in the instance or slice that is rented as one."""
    instance: Annotated[str, Field(max_length=100)] | None = None
    region: Slug | None = None
    """None where the provider asks the same everywhere, or the source does not say."""
    term: Literal["on-demand", "spot", "reserved", "savings-plan"]
    term_months: Annotated[int, Field(ge=1, le=120)] | None = None
    """None where the source does not state the length of a commitment."""
    currency: Literal["USD"] = "USD"
    usd_per_device_hour: Annotated[float, Field(ge=0.02, le=100)]
    """With the host's share. Outside these bounds lie placeholders and host-only prices."""
