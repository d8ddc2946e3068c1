"""From an accelerator's fact to what the core calculates with. The one place that maps them."""

from __future__ import annotations

from service.catalog.facts import Fact
from service.catalog.kinds import AcceleratorFacts
from service.core.hardware import Accelerator


def accelerator(fact: Fact) -> Accelerator:
    """The core's view of an accelerator."""
    facts = fact.payload
    assert isinstance(facts, AcceleratorFacts)
    embodied = facts.embodied_kgco2e
    return Accelerator(
        name=fact.name,
        vendor=facts.vendor,
        release_year=facts.release_year,
        memory_bytes=facts.memory_bytes,
        memory_bandwidth=facts.memory_bandwidth_bytes_per_second,
        peak_flops={str(name): peak for name, peak in facts.peak_flops.items()},
        scale_up_bandwidth=facts.scale_up_bandwidth_bytes_per_second,
        scale_out_bandwidth=facts.scale_out_bandwidth_bytes_per_second,
        devices_per_node=facts.devices_per_node,
        tdp_watts=facts.tdp_watts,
        idle_watts=facts.idle_watts,
        embodied_kgco2e=(embodied.low, embodied.central, embodied.high),
    )
