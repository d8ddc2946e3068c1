"""Fits the power model on measured kernels and nodes, and tests it on measured runs.

`python -m service.calibration.energy` writes `service/core/calibration_data/energy.json` and
prints the back-test. The kernel curve is fitted on the kernel table alone; hosts on two measured
node classes; TPU envelopes, host included, on Patterson et al. 2021 and PaLM.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from service.calibration.kernel_power import AWAKE_SHARE, FAMILIES, Floats, Kernels
from service.calibration.rows import BacktestRow, summary, table
from service.calibration.training_power import (
    Row,
    by_accelerator,
    full_load_watts,
    host_share,
    judged,
    log_ratios,
    predicted_watts,
    rows,
    spread,
    step_share,
    typical,
)
from service.core import energy
from service.core.energy import PowerEnvelope
from service.core.uncertainty import Interval, product, relative

_STUDY_OVERHEAD, _STUDY_PUE = 1.74, 1.12


def fit() -> dict[str, Any]:
    """The calibration document: each coefficient with its unit, value and source."""
    kernels = Kernels(rows("kernel_power"))
    everything = np.ones(len(kernels.share), dtype=bool)
    terms = _curve_terms(kernels, kernels.fit(everything))

    def read(name: str) -> float:
        return float(terms[name]["value"])

    training = rows("training_power")
    terms |= _node_terms({row["case"]: row for row in training}, read)
    return {
        "id": "energy-1",
        "coefficients": terms,
        "envelopes": {
            name: _envelope(group, read) for name, group in by_accelerator(training).items()
        },
        "typical_utilization": typical(),
        "intervals": {
            "kernel_power": _bounds(kernels.residuals_left_out(everything)),
            "training_power": spread(log_ratios(judged(training), training, read)),
        },
    }


def _curve_terms(kernels: Kernels, slopes: Floats) -> dict[str, Any]:
    source = "kernel table, soft-L1 fit over five tables"
    barely = kernels.utilization < 0.02
    middle = (kernels.family == 0) & (np.abs(kernels.utilization - 0.25) < 0.15)
    fitted = {
        f"slope_{family}": _entry(slope, "per share of dense peak", source)
        for family, slope in zip(FAMILIES, slopes[:3], strict=True)
    }
    return fitted | {
        "slope_bandwidth": _entry(slopes[3], "per share of memory bandwidth", source),
        "awake_share": _entry(
            AWAKE_SHARE, "share of limit", "kernel table: 10th percentiles at no load, 0.18 to 0.29"
        ),
        "typical_bandwidth_share": _entry(
            np.median(kernels.bandwidth[middle]),
            "share of memory bandwidth",
            "kernel table: median of the 16-bit bins at utilisation 0.1 to 0.4",
        ),
        "waiting_share": _entry(
            np.median(kernels.share[barely]),
            "share of limit",
            "kernel table: median of the bins below 2 % utilisation",
        ),
    }


def _node_terms(runs: Mapping[str, Row], read: Callable[[str], float]) -> dict[str, Any]:
    heavy = runs["hgx-h100-heavy"]
    large = fmean([host_share(heavy, read), host_share(runs["hgx-h100-peak"], read)])
    device = step_share(heavy, read)
    network = _STUDY_OVERHEAD / ((device + large) / device * _STUDY_PUE) - 1.0
    return {
        "host_share_300w": _entry(
            host_share(runs["gpt-3-175b"], read),
            "share of TDP",
            "GPT-3 on V100 (arXiv 2104.10350): system power less the curve",
        ),
        "host_share_700w": _entry(
            large,
            "share of TDP",
            "8 H100: mean of heavy training at 7.75 kW (arXiv 2506.14551) and the peak of 8.4 kW "
            "(arXiv 2412.08602), less the curve",
        ),
        "network_share": _entry(
            max(0.0, network),
            "share of node energy",
            "switches and storage: 1.74 from GPU to data centre (arXiv 2605.01158) over our node "
            f"and PUE {_STUDY_PUE}",
        ),
    }


def _envelope(group: Sequence[Row], read: Callable[[str], float]) -> dict[str, Any]:
    cases = ", ".join(row["case"] for row in group)
    limit = round(full_load_watts(group, read), 1)
    return {"limit_watts": limit, "source": f"measured system power of {cases}"}


def _entry(value: float | np.floating[Any], unit: str, source: str) -> dict[str, Any]:
    return {"value": float(f"{value:.5g}"), "unit": unit, "source": source}


def _bounds(residuals: Floats) -> dict[str, Any]:
    low, high = np.quantile(residuals, [0.05, 0.95])
    return {
        "low": round(float(low), 4),
        "high": round(float(high), 4),
        "unit": "added to the share",
    }


def backtest() -> list[BacktestRow]:
    """Every judged row: kernels, measured runs, cards without hours, and circular arithmetic."""
    return [*_kernel_rows(), *_run_rows(), *_card_rows(), *_arithmetic_rows()]


def _kernel_rows() -> list[BacktestRow]:
    kernels = Kernels(rows("kernel_power"))
    found = []
    for source in sorted(set(kernels.table)):
        own = kernels.table == source
        value = kernels.predict(kernels.fit(~own), own)
        low, high = np.quantile(kernels.residuals_left_out(~own), [0.05, 0.95])
        for i, centre in zip(np.flatnonzero(own), value, strict=True):
            found.append(
                BacktestRow(
                    source="kernel power (aiconfigurator)",
                    quantity="accelerator_power_share",
                    case=kernels.names[i],
                    observed=float(kernels.share[i]),
                    value=float(centre),
                    low=max(float(centre + low), 0.15),
                    high=min(float(centre + high), 1.0),
                    set_aside=True,
                    family=FAMILIES[kernels.family[i]],
                    accelerator=source.split("__")[0],
                )
            )
    return found


def _run_rows() -> list[BacktestRow]:
    training = rows("training_power")
    unseen = judged(training)
    found = []
    for row in training:
        if row["use"] == "unclear":
            continue
        watts = predicted_watts(row, energy.coefficient, training)
        others = [r for r in unseen if r is not row]
        residuals = spread(log_ratios(others, training, energy.coefficient))
        band = relative(watts, residuals["low"], residuals["high"])
        hours, observed, quantity = _energy_of(row)
        scaled = band.times(hours)
        found.append(
            BacktestRow(
                source="measured runs and nodes",
                quantity=quantity,
                case=row["case"],
                observed=observed,
                value=scaled.value,
                low=scaled.low,
                high=scaled.high,
                set_aside=row in unseen,
                family=row["scope"],
                accelerator=row["accelerator"],
            )
        )
    return found


def _energy_of(row: Row) -> tuple[float, float, str]:
    """The factor from watts to the row's own quantity, what was observed, and its name."""
    if not row["energy_kwh"]:
        return 1.0, float(row["watts"]), "watts_per_device"
    factor = float(row["device_hours"]) * float(row["pue"] or 1.0) / 1e3
    return factor, float(row["energy_kwh"]), "energy_kwh"


def _card_rows() -> list[BacktestRow]:
    """Energy from a card that states no hours: the typical utilisation stands in for the time."""
    training = rows("training_power")
    typical = energy.typical_utilization()
    slope = energy.power_slope("bf16")
    fitted = {r["case"] for r in training if r not in judged(training)}
    found = []
    for row in rows("card_energy"):
        hours = typical.inverse(float(row["training_flops"]) / float(row["peak_flops"]) / 3600.0)
        envelope = _envelope_without(row, training)
        watts = energy.device_watts(envelope, typical, slope)
        band = product(hours, watts).times(float(row["pue"] or 1.0) / 1e3)
        unseen = row["case"] not in fitted
        found.append(_row("model card without hours", row, float(row["energy_kwh"]), band, unseen))
    return found


def _envelope_without(row: Row, training: Sequence[Row]) -> PowerEnvelope:
    """The envelope in the row's scope, leaving out the row's own run where others exist."""
    group = by_accelerator(training).get(row["accelerator"])
    if group is not None:
        peers = [r for r in group if r["case"] != row["case"]] or group
        return PowerEnvelope(full_load_watts(peers, energy.coefficient), 0.0, 0.0)
    tdp = float(row["tdp_watts"])
    return PowerEnvelope(tdp, 0.0, energy.host_watts(tdp) if row["scope"] == "it" else 0.0)


def _arithmetic_rows() -> list[BacktestRow]:
    found = []
    for row in rows("reported_energy"):
        kwh = energy.reported_energy_kwh(
            float(row["device_hours"]), float(row["watts"]), float(row["pue"])
        )
        if row["energy_kwh"]:
            band = Interval(kwh, kwh, kwh)
            found.append(_row("circular arithmetic", row, float(row["energy_kwh"]), band, False))
        kilograms = kwh * float(row["gco2e_per_kwh"]) / 1e3
        band = Interval(kilograms, kilograms, kilograms)
        carbon = _row("circular arithmetic", row, float(row["kgco2e"]), band, False, "kgco2e")
        found.append(carbon)
    return found


def _row(
    source: str,
    row: Row,
    observed: float,
    band: Interval,
    set_aside: bool = True,
    quantity: str = "energy_kwh",
) -> BacktestRow:
    return BacktestRow(
        source=source,
        quantity=quantity,
        case=row["case"],
        observed=observed,
        value=float(band.value),
        low=float(band.low),
        high=float(band.high),
        set_aside=set_aside,
        accelerator=row.get("accelerator", ""),
    )


def write(path: Path | None = None) -> None:
    """Fit again and write the coefficients file."""
    target = path or Path(str(files("service.core"))) / "calibration_data" / "energy.json"
    target.write_text(json.dumps(fit(), indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Fit, write and print the back-test."""
    write()
    energy.document.cache_clear()
    energy.coefficient.cache_clear()
    print(table(summary(backtest())))


if __name__ == "__main__":
    main()
