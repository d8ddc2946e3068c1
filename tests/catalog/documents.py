"""Documents of facts that tests write."""

from __future__ import annotations

from typing import Any

PROVENANCE = {"source": "a test", "source_date": "2026-11-01", "licence": "CC0-1.0"}


def region(**changes: Any) -> dict[str, Any]:
    """A country."""
    return {
        "title": "Utopia",
        "scope": "country",
        "country": "UT",
        "grid_gco2e_per_kwh": 100.0,
        "grid_year": 2024,
        "grid_quality": "country",
        "provenance": dict(PROVENANCE),
    } | changes


def accelerator(**changes: Any) -> dict[str, Any]:
    """A plausible accelerator."""
    return {
        "title": "Accelerator",
        "vendor": "ACME",
        "device_kind": "gpu",
        "release_year": 2024,
        "memory_bytes": 80 * 2**30,
        "memory_bandwidth_bytes_per_second": 3.35e12,
        "peak_flops": {"fp32": 67e12, "tf32": 494.5e12, "bf16": 989e12, "fp8": 1979e12},
        "scale_up_bandwidth_bytes_per_second": 450e9,
        "scale_out_bandwidth_bytes_per_second": 50e9,
        "devices_per_node": 8,
        "tdp_watts": 700,
        "idle_watts": 130,
        "embodied_kgco2e": {"low": 20, "central": 164, "high": 575},
        "provenance": dict(PROVENANCE),
    } | changes


def price(**changes: Any) -> dict[str, Any]:
    """A price of `accelerator()` under the name `acme-1`."""
    return {
        "provider": "acme",
        "accelerator": "acme-1",
        "accelerator_count": 8,
        "term": "on-demand",
        "usd_per_device_hour": 2.5,
        "provenance": dict(PROVENANCE),
    } | changes
