"""What a step takes where optimizer states, or parameters too, live in host memory.

ZeRO-Offload (Ren et al. 2021, arXiv 2101.06840, sections 3 and 4) leaves forward and backward on
the device. Gradients go down while the backward pass runs, the host's processors update their
fp32 copies, and parameters in 16 bits come back:

    host = parameters a node * seconds a parameter + 2 bytes * parameters a device / link

With the parameters in host memory as well, each device fetches its share of them twice for each
micro-batch, forward and backward, beside the work (ZeRO-Infinity, Rajbhandari et al. 2021, arXiv
2104.07857, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

from service.core.hardware import Accelerator
from service.core.numeric import Number, minimum, sqrt
from service.core.parallelism import Layout
from service.core.throughput import StepTime
from service.core.uncertainty import Interval

UPDATE_SECONDS = Interval(0.62e-9, 0.5e-9, 3.4e-9)
"""Of a node's processors, for each parameter that they update with DeepSpeedCPUAdam. 0.71e-9 for
11.6e9 parameters (DeepSpeed pull request 735), 0.55e-9 for 72e9 on four A100 nodes (issue 6834),
below 0.8e-9 for 3e9 on two A100 with 128 cores (pull request 7474, whole step); torch's AdamW took
3.4e-9 on two threads (ISEEKYAN/Megatron-LM issue 188). A job that is given too few cores takes
still more: 17e-9 in DeepSpeed's issue 1635."""
BYTES = 2.0
"""Of a parameter on its way to a device."""
LINK_SHARE = 0.75
"""Of the nominal rate of PCI Express that copies of pinned memory reach."""


class Host(NamedTuple):
    """What is kept in host memory, and the way there; floats, or arrays in a sweep."""

    optimizer: Number = 0.0
    """1 where the states are."""
    parameters: Number = 0.0
    """1 where the parameters are too."""
    link: Number = 1.0
    """Bytes/s of one device, one direction, nominal."""


def host(offload: str, accelerator: Accelerator) -> Host | None:
    """Of a job; None where all of it stays on the devices."""
    if offload == "none":
        return None
    return Host(1.0, float(offload == "parameters"), link_bandwidth(accelerator.release_year))


def link_bandwidth(release_year: int) -> float:
    """Bytes/s, one direction, of sixteen lanes of the PCI Express of a year's accelerators.

    Third generation (V100, T4), fourth from 2020 (A100, MI250), fifth from 2022 (H100, MI300X).
    """
    if release_year < 2020:
        return 15.75e9
    return 31.5e9 if release_year < 2022 else 63e9


class Moved(NamedTuple):
    """A step with what the host does in it; seconds."""

    device: Number
    """Of the devices: the step without their optimizer, and with what fetching adds."""
    host: Interval
    """Updating the states, and copying parameters back."""


def moved(
    at: Host,
    step: StepTime,
    layout: Layout,
    parameters: Number,
    devices_per_node: Number,
) -> Moved:
    """A step of a job; `parameters` are those of which a device holds the states."""
    link = at.link * LINK_SHARE
    together = minimum(layout.devices, devices_per_node) * parameters * at.optimizer
    back = BYTES * parameters * at.optimizer / link
    fetched = 2.0 * BYTES * parameters * at.parameters * layout.micro_batches / link
    work = step.total_seconds - step.optimizer_seconds * at.optimizer
    return Moved(
        sqrt(work * work + fetched * fetched),
        Interval(*(seconds * together + back for seconds in UPDATE_SECONDS)),
    )
