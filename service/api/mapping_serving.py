"""From the core's answer for serving to the sections of a response."""

from __future__ import annotations

from service.api.mapping import maybe, predicted
from service.api.responses import MemorySection, PerDeviceMemory
from service.api.serving_models import DraftingSection, FleetSection, ServingSection
from service.core.serving.composition import ServingEstimate
from service.core.serving.economics import JOULES_PER_KWH
from service.core.uncertainty import Interval


def memory(answer: ServingEstimate, peak: Interval) -> MemorySection:
    """Peak memory of one device that serves."""
    return MemorySection(
        per_device=PerDeviceMemory(
            parameters_bytes=answer.memory.weights_bytes,
            gradients_bytes=0.0,
            optimizer_bytes=0.0,
            activations_bytes=0.0,
            overhead_bytes=answer.memory.reserved_bytes,
            kv_cache_bytes=answer.memory.cache_bytes,
        ),
        peak_bytes=predicted(peak),
        capacity_bytes=answer.capacity_bytes,
    )


def serving(
    answer: ServingEstimate,
    usd_per_million: Interval | None,
    joules_per_token: Interval,
    grid_gco2e_per_kwh: float,
    fleet: FleetSection | None = None,
) -> ServingSection:
    """What one replica does."""
    return ServingSection(
        weights_bytes=answer.weights_bytes,
        kv_cache_bytes_per_token=answer.cache_bytes_per_token,
        max_concurrency=int(answer.max_concurrency),
        mean_concurrency=int(answer.mean_concurrency),
        in_flight=float(answer.batch),
        kv_cache_bytes_per_token_per_device=answer.cache_bytes_per_token_per_device,
        kv_cache_bytes_per_request_per_device=answer.cache_bytes_per_sequence_per_device,
        kv_cache_reserved_bytes_per_request_per_device=(
            answer.cache_reserved_bytes_per_sequence_per_device
        ),
        kv_cache_budget_bytes=answer.cache_budget_bytes,
        prefill_seconds=predicted(answer.prefill_seconds),
        first_token_seconds=predicted(answer.first_token_seconds),
        decode_seconds_per_token=predicted(answer.decode_seconds_per_token),
        output_tokens_per_second=predicted(answer.output_tokens_per_second),
        requests_per_second=predicted(answer.requests_per_second),
        memory_bandwidth_utilization=float(answer.bandwidth_utilization),
        model_flops_utilization=float(answer.model_flops_utilization),
        usd_per_million_output_tokens=maybe(usd_per_million),
        joules_per_output_token=predicted(joules_per_token),
        gco2e_per_output_token=predicted(
            joules_per_token.times(grid_gco2e_per_kwh / JOULES_PER_KWH)
        ),
        calibration=answer.level,
        drafting=_drafting(answer),
        fleet=fleet,
    )


def _drafting(answer: ServingEstimate) -> DraftingSection | None:
    found = answer.drafting
    if found is None:
        return None
    return DraftingSection(
        tokens_per_verification=float(found.tokens_per_verification),
        speed_ratio=float(found.speed_ratio),
        weights_bytes=float(found.weights_bytes),
        kv_cache_bytes_per_token=float(found.cache_bytes_per_token),
    )
