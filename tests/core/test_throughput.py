"""The step-time model: its folds, its limits, and how it does on runs that were measured."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.calibration import throughput as calibration
from service.calibration.throughput_rows import accelerator, jobs, network
from service.core import compute, throughput
from service.core.architecture.families import shapes
from service.core.architecture.network import Network
from service.core.parallelism import Kernels, Layout
from service.core.throughput import StepTime
from service.core.throughput.coefficients import document
from service.core.throughput.stages import stack, stage_tables
from service.core.throughput.work import Work
from service.core.uncertainty import Interval

LAYOUT = Layout(
    devices=32.0,
    tensor=2.0,
    pipeline=2.0,
    zero_stage=1.0,
    sequence_parallel=1.0,
    micro_batch_size=2.0,
    global_batch_size=128.0,
)
H100 = "h100-sxm"


def small(layers: int = 8) -> Network:
    return shapes.llama(layers, 2048, 16, key_value_heads=4, vocabulary=32000)


def seconds(
    layout: Layout = LAYOUT,
    kernels: Kernels | None = None,
    net: Network | None = None,
    device: str = H100,
    length: float = 4096.0,
) -> float:
    answer = throughput.predict(
        net or small(), kernels or Kernels(), layout, accelerator(device), length
    )
    return float(answer.step_seconds.value)


# --- The fold ---------------------------------------------------------------------------------


def dense(work: Work) -> float:
    return float(
        work.product_tensor
        + work.product_key_value
        + work.product_whole
        + work.product_expert
        + work.head_product
    )


@pytest.mark.parametrize("name", ["llama-3.1-8b", "mixtral-8x7b", "deepseek-v2", "gpt-oss-20b"])
def test_products_of_a_training_step_are_those_of_the_flop_count(name: str) -> None:
    net = network(name)
    table = compute.table(net)
    work = throughput.table(net, Kernels()).at(2048.0)
    assert dense(work) == pytest.approx(3.0 * table.products(2048.0), rel=1e-12)
    flash = 1.0 + 2.5
    assert work.attention == pytest.approx(flash * table.attention.at(2048.0), rel=1e-12)


def test_full_recomputation_adds_a_forward_pass_of_the_layers() -> None:
    net = small()
    plain = throughput.table(net, Kernels()).at(1024.0)
    again = throughput.table(net, Kernels(recomputation="full")).at(1024.0)
    assert again.product_tensor == pytest.approx(4.0 / 3.0 * plain.product_tensor)
    assert again.head_product == plain.head_product
    assert again.tensor_payload > plain.tensor_payload


def test_eager_attention_computes_the_whole_square_and_writes_it_out() -> None:
    net = small()
    eager = throughput.table(net, Kernels(attention="eager")).at(1024.0)
    flash = throughput.table(net, Kernels()).at(1024.0)
    assert eager.attention == pytest.approx(flash.attention * 2.0 * 3.0 / 3.5)
    assert eager.pairs > 0
    assert flash.pairs == 0


def test_modules_move_more_bytes_and_launch_more_kernels_than_fused_ones() -> None:
    net = small()
    fused = throughput.table(net, Kernels()).at(1024.0)
    modules = throughput.table(net, Kernels(implementation="modules")).at(1024.0)
    assert modules.kernels > 1.2 * fused.kernels
    assert modules.element_whole > fused.element_whole


def test_an_unpadded_vocabulary_makes_the_head_slow() -> None:
    odd = throughput.table(shapes.gpt(4, 1024, 16, vocabulary=50257), Kernels()).at(1024.0)
    even = throughput.table(shapes.gpt(4, 1024, 16, vocabulary=50304), Kernels()).at(1024.0)
    assert odd.head_product > 2.0 * even.head_product


@pytest.mark.parametrize("pipeline", [2, 3, 5, 8])
def test_the_work_of_all_stages_is_the_work_of_the_network(pipeline: int) -> None:
    net, kernels = small(9), Kernels()
    whole = throughput.table(net, kernels).at(1024.0)
    parts = [throughput.table(net, kernels, pipeline, i).at(1024.0) for i in range(pipeline)]
    for name in ("product_tensor", "attention", "element_whole", "kernels", "tensor_payload"):
        assert sum(getattr(part, name) for part in parts) == pytest.approx(getattr(whole, name))


@pytest.mark.parametrize("name", ["llama-3.1-8b", "deepseek-v2"])
def test_no_stage_that_was_left_out_is_the_slowest(name: str) -> None:
    net, kernels = network(name), Kernels()
    kept = [table.at(4096.0) for table in stage_tables(net, kernels, 5)]
    for stage in range(5):
        work = throughput.table(net, kernels, 5, stage).at(4096.0)
        assert any(all(a >= b for a, b in zip(k, work, strict=True)) for k in kept)


# --- What must hold of any answer -------------------------------------------------------------


def test_twice_the_batch_takes_less_than_twice_as_long_and_more_than_once() -> None:
    one = seconds()
    two = seconds(replace(LAYOUT, global_batch_size=256.0))
    assert one < two < 2.0 * one


def test_a_bubble_shrinks_with_interleaving_and_with_more_micro_batches() -> None:
    net = small(16)
    layout = replace(LAYOUT, pipeline=4.0, tensor=1.0, global_batch_size=64.0)
    plain = seconds(layout, net=net)
    assert seconds(replace(layout, interleave=4.0), net=net) < plain

    def idle(batch: float) -> float:
        parts = throughput.predict(
            net,
            Kernels(),
            replace(layout, global_batch_size=batch),
            accelerator(H100),
            4096.0,
        ).parts
        return float(parts.pipeline_seconds / parts.total_seconds)

    assert idle(512.0) < 0.5 * idle(64.0)


def test_a_tensor_group_that_leaves_its_node_is_slower() -> None:
    inside = replace(LAYOUT, tensor=8.0, pipeline=1.0)
    outside = replace(inside, tensor=16.0)
    assert seconds(outside) > seconds(inside)


def test_heads_that_do_not_fill_16_bytes_slow_the_scores_that_are_written_out() -> None:
    def scores(heads: int, attention: str) -> float:
        kernels = Kernels("fp16-mixed", attention=attention)
        net = shapes.gpt(2, 13824, heads, vocabulary=51200, positions=2048)
        return float(throughput.table(net, kernels).at(2048.0).attention)

    assert scores(128, "eager") == pytest.approx(8.0 * scores(64, "eager"))
    assert scores(128, "flash") == pytest.approx(scores(64, "flash"))


def test_gradients_hide_behind_a_long_micro_batch_and_not_behind_a_short_one() -> None:
    def share(samples: float) -> float:
        layout = replace(LAYOUT, devices=64.0, tensor=1.0, pipeline=1.0, zero_stage=1.0)
        layout = replace(layout, micro_batch_size=samples, global_batch_size=64.0 * samples)
        parts = throughput.predict(small(), Kernels(), layout, accelerator(H100), 4096.0).parts
        return float(parts.data_seconds / parts.total_seconds)

    assert 0.0 < share(16.0) < 0.5 * share(1.0)


def test_recomputing_a_part_of_the_layers_costs_that_part() -> None:
    plain, full = seconds(), seconds(kernels=Kernels(recomputation="full"))
    quarter = seconds(kernels=Kernels(recomputation="full", recomputed_share=0.25))
    half = seconds(kernels=Kernels(recomputation="half"))
    assert quarter == pytest.approx(0.75 * plain + 0.25 * full, rel=1e-3)
    assert half == pytest.approx(0.5 * (plain + full), rel=1e-3)


def test_recomputation_costs_up_to_a_third() -> None:
    plain = seconds()
    full = seconds(kernels=Kernels(recomputation="full"))
    assert 1.15 * plain < full < 1.40 * plain


def test_eight_bit_products_help_but_do_not_halve_the_time() -> None:
    plain = seconds(net=network("llama-3.1-8b"))
    narrow = seconds(net=network("llama-3.1-8b"), kernels=Kernels("fp8-mixed"))
    assert 0.5 * plain < narrow < plain


@settings(max_examples=40, deadline=None)
@given(
    tensor=st.sampled_from([1.0, 2.0, 4.0, 8.0]),
    zero=st.sampled_from([0.0, 1.0, 2.0, 3.0]),
    size=st.sampled_from([1.0, 2.0, 4.0]),
    name=st.sampled_from(["llama-3.1-8b", "mixtral-8x7b"]),
    device=st.sampled_from([H100, "a100-sxm4-80gb", "mi300x", "tpu-v5p"]),
)
def test_parts_are_positive_and_add_up_to_the_whole(
    tensor: float, zero: float, size: float, name: str, device: str
) -> None:
    layout = replace(LAYOUT, tensor=tensor, zero_stage=zero, micro_batch_size=size)
    answer = throughput.predict(network(name), Kernels(), layout, accelerator(device), 4096.0)
    parts = answer.parts
    assert all(part >= 0 for part in parts)
    assert sum(parts[1:]) == pytest.approx(parts.total_seconds, rel=1e-9)
    assert answer.step_seconds.low < answer.step_seconds.value < answer.step_seconds.high


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_arrays_give_what_floats_give(data: st.DataObject) -> None:
    choices = [
        (
            data.draw(st.sampled_from(["llama-3.1-8b", "mixtral-8x7b", "gpt-2"])),
            replace(
                LAYOUT,
                pipeline=float(data.draw(st.sampled_from([1, 2, 4]))),
                tensor=data.draw(st.sampled_from([1.0, 2.0, 4.0])),
                zero_stage=float(data.draw(st.integers(0, 3))),
                micro_batch_size=data.draw(st.sampled_from([1.0, 4.0])),
            ),
        )
        for _ in range(4)
    ]
    device, kernels = accelerator(H100), Kernels()
    fitted = throughput.coefficients(device, kernels)
    works = [throughput.stages(network(n), kernels, int(la.pipeline), 2048.0) for n, la in choices]
    columns = Layout(
        **{
            field.name: np.array([getattr(layout, field.name) for _, layout in choices])
            for field in fields(Layout)
        }
    )
    chip = throughput.device(device, "bf16")
    arrays = throughput.step(stack(works), throughput.state_bytes(kernels), columns, chip, fitted)
    for row, (name, layout) in enumerate(choices):
        single = throughput.predict(network(name), kernels, layout, device, 2048.0).parts
        for part, value in zip(arrays, single, strict=True):
            assert np.broadcast_to(part, 4)[row] == pytest.approx(value, rel=1e-12, abs=1e-15)


def test_the_formula_does_not_branch_on_numbers() -> None:
    source = inspect.getsource(throughput.step) + inspect.getsource(StepTime)
    assert " if " not in source


# --- Coefficients -----------------------------------------------------------------------------


def test_an_accelerator_without_rows_gets_the_shared_values_and_a_wider_interval() -> None:
    known, new = accelerator("a100-sxm4-80gb"), accelerator("mi300x")
    assert throughput.generation(new) == "prior"
    shared = document()["prior"]
    fitted = throughput.coefficients(new, Kernels())
    factors = document()["factors"]["fused"]
    for name in ("attention_efficiency", "call_seconds", "inside_efficiency"):
        assert getattr(fitted, name) == pytest.approx(shared[name] * factors.get(name, 1.0))
    width = [high - low for low, high in (throughput.bounds(known), throughput.bounds(new))]
    assert width[1] > 1.5 * width[0]


def test_a_mixture_of_experts_gets_a_wider_interval() -> None:
    def width(name: str) -> float:
        step = throughput.predict(
            network(name),
            Kernels(),
            replace(LAYOUT, tensor=1.0, pipeline=1.0),
            accelerator("b200"),
            4096.0,
        ).step_seconds
        return float(step.high / step.low)

    assert width("mixtral-8x7b") > 1.5 * width("llama-3.1-8b")


def test_each_fitted_share_of_a_link_or_a_peak_is_physical() -> None:
    for name in ("v100-sxm2-32gb", "a100-sxm4-80gb", H100, "b200", "gb300", "tpu-v6e", "mi300x"):
        for implementation in ("fused", "modules"):
            kernels = Kernels(implementation=implementation)
            fitted = throughput.coefficients(accelerator(name), kernels)
            for share in (
                fitted.product_efficiency,
                fitted.attention_efficiency,
                fitted.memory_efficiency,
                fitted.outside_efficiency,
            ):
                assert 0.1 < share < 1.0
            assert 1e-6 < fitted.launch_seconds < 2e-4
            assert 1e-6 < fitted.call_seconds < 1e-3


def test_billed_hours_grow_with_the_cluster_and_where_nobody_tuned_the_layout() -> None:
    chip = throughput.device(accelerator(H100), "bf16")
    node = throughput.billed_factor(replace(LAYOUT, devices=8.0), chip)
    cluster = throughput.billed_factor(LAYOUT, chip)
    searched = throughput.billed_factor(replace(LAYOUT, searched=1.0), chip)
    assert 1.0 <= node.value < cluster.value < searched.value
    larger = throughput.billed_factor(replace(LAYOUT, devices=16384.0, searched=1.0), chip)
    largest = throughput.billed_factor(replace(LAYOUT, devices=1e6, searched=1.0), chip)
    assert 1.0 <= larger.value < searched.value
    assert largest == larger
    assert cluster.low == pytest.approx(1 / 0.95)
    assert cluster.high == pytest.approx(1 / 0.65)


# --- Measured runs ----------------------------------------------------------------------------


def errors(source: str) -> np.ndarray:
    """Signed relative errors of the shipped calibration on one measured set."""
    found = []
    for job in jobs():
        if job.source != source:
            continue
        layout = Layout(**job.layout)
        answer = throughput.predict(
            job.network, job.kernels, layout, accelerator(job.accelerator), job.sequence_length
        )
        found.append(answer.step_seconds.value / job.step_seconds - 1.0)
    return np.array(found)


@pytest.mark.parametrize(
    ("source", "limit"),
    [
        ("vtrain_single_node", 0.08),
        ("vtrain_multi_node", 0.10),
        ("simumax_b200", 0.05),
        ("korthikanti-2022", 0.05),
        ("llm-foundry", 0.10),
    ],
)
def test_measured_runs_are_met_within_the_mean_error_that_was_asked_for(
    source: str, limit: float
) -> None:
    found = errors(source)
    assert len(found) >= 5
    assert np.abs(found).mean() <= limit


def test_half_of_the_megatron_rows_of_2021_are_met_within_five_percent() -> None:
    assert np.median(np.abs(errors("narayanan-2021"))) <= 0.05


def test_rows_set_aside_keep_models_together() -> None:
    for kept, aside in calibration.folds(jobs()):
        groups = {calibration.group_of(job) for job in kept}
        assert groups.isdisjoint(calibration.group_of(job) for job in aside)
        assert aside


def test_the_readers_tell_rows_of_every_source() -> None:
    sources = {job.source for job in jobs()}
    assert len(sources) >= 15
    assert all(job.step_seconds > 0 for job in jobs())
    assert len(jobs()) >= 1250


@pytest.mark.parametrize("name", ["modernbert-base", "llama-3.1-8b", "gemma-3-1b"])
def test_a_flash_kernel_takes_what_the_masks_leave_and_three_and_a_half_times_it(name: str) -> None:
    """Forward, and a backward pass of 2.5 times; without windows a kernel passes over all pairs."""
    net = network(name)
    needed = compute.table(net).attention.at(8192.0)
    flash = throughput.table(net, Kernels(attention="flash")).at(8192.0).attention
    assert flash == pytest.approx(3.5 * needed)
    plain = throughput.table(net, Kernels(attention="sdpa")).at(8192.0).attention
    assert plain == pytest.approx(flash) or name == "modernbert-base"
    assert plain >= flash * (1.0 - 1e-9)


def test_on_one_device_all_but_the_optimizer_is_computing_the_waiting_for_launches_too() -> None:
    layout = Layout(global_batch_size=4.0)
    for net in (small(2), network("llama-3.1-8b")):
        parts = throughput.predict(net, Kernels(), layout, accelerator(H100), 64.0).parts
        assert parts.compute_seconds + parts.optimizer_seconds == pytest.approx(parts.total_seconds)


def test_zero_3_gathers_all_that_is_held_twice_and_divides_what_is_trained() -> None:
    """Of a micro-batch, in 16 bits: parameters for either pass, and their gradients."""
    net = network("llama-3.1-8b")
    device = throughput.device(accelerator(H100), "bf16")
    fitted = throughput.coefficients(accelerator(H100), Kernels())
    layout = Layout(devices=64.0, zero_stage=3.0, global_batch_size=64.0)
    work = throughput.stages(net, Kernels(), 1, 4096.0)
    found = throughput.step(work, throughput.state_bytes(Kernels()), layout, device, fitted)
    held = 8_030_261_248.0
    ring = (
        63
        / 64
        / min(
            device.scale_up_bandwidth * fitted.inside_efficiency,
            8 * device.scale_out_bandwidth * fitted.outside_efficiency,
        )
    )
    gathered = fitted.data_exposure * 3 * 2.0 * held * ring
    busy = found.compute_seconds
    expected = (busy**2 + gathered**2) ** 0.5 - busy
    assert found.data_seconds == pytest.approx(expected, rel=0.02)


# --- Billed hours ------------------------------------------------------------------------------

SHARES = document()["shares"]


def billed(devices: float, searched: float) -> Interval:
    layout = Layout(devices=devices, searched=searched)
    return throughput.billed_factor(layout, throughput.device(accelerator(H100), "bf16"))


@pytest.mark.parametrize(
    ("devices", "searched", "kind"),
    [(8.0, 0.0, "given_node"), (16.0, 0.0, "given_cluster"), (8.0, 1.0, "searched_node")],
)
def test_billed_hours_are_steps_over_the_share_that_published_runs_reached(
    devices: float, searched: float, kind: str
) -> None:
    share = SHARES[kind]
    expected = (1.0 / share["value"], 1.0 / share["high"], 1.0 / share["low"])
    assert billed(devices, searched) == pytest.approx(expected)


def test_larger_clusters_reach_more_of_the_best_layout_as_far_as_was_measured() -> None:
    cluster = SHARES["searched_cluster"]
    measured = [cluster["fewest"], cluster["devices"], cluster["most"]]
    ways = [(devices / cluster["devices"]) ** cluster["growth"] for devices in measured]
    for devices, way in zip(measured, ways, strict=True):
        reached = cluster["value"] * min(way, 1.0 / cluster["value"])
        assert billed(devices, 1.0).value == pytest.approx(1.0 / reached)
    assert billed(16.0, 1.0) == billed(cluster["fewest"], 1.0)
    assert billed(1e6, 1.0) == billed(cluster["most"], 1.0)
    assert billed(1e6, 1.0).value >= 1.0
