"""Peak memory: states, activations and moments against the papers' own figures."""

import numpy as np
import pytest

from service.core import memory
from service.core.architecture.families import layers, registry, shapes
from service.core.architecture.network import Network
from service.core.hardware import GIB
from service.core.memory.saved import shares
from service.core.memory.states import SplitBytes, on_device, sharded
from service.core.memory.tables import MemoryTable
from service.core.parallelism import Kernels, Layout
from service.core.parameters import count

LLAMA_2_7B = {
    "model_type": "llama",
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "tie_word_embeddings": False,
}
GROUPED = LLAMA_2_7B | {"num_key_value_heads": 8}


def products(dense: int, whole: int = 0, expert: int = 0, rows: int = 1) -> Network:
    """Matrices of that many columns: one that tensor parallelism divides, one not, an expert."""
    held = [{"type": "linear", "inputs": dense, "outputs": rows, "bias": False, "split": "column"}]
    if whole:
        held.append({"type": "linear", "inputs": whole, "outputs": rows, "bias": False})
    if expert:
        inside = [{"type": "linear", "inputs": expert, "outputs": rows, "bias": False}]
        routed = {"type": "block", "experts": {"count": 1, "active": 1}, "layers": inside}
        held.append(routed)
    return layers.build(held)


def states(parts: memory.MemoryParts) -> float:
    return parts.parameters_bytes + parts.gradients_bytes + parts.optimizer_bytes


# --- ZeRO (Rajbhandari et al. 2020, arXiv 1910.02054, figure 1) ---------------------------------


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.88)])
def test_zero_stages_of_the_paper(stage, gigabytes):
    table = memory.tables(products(75_000, rows=100_000), Kernels(gradient_precision="bf16"))
    parts = memory.per_device(table, Layout(devices=64.0, zero_stage=float(stage)), 1024.0)
    assert states(parts) / 1e9 == pytest.approx(gigabytes, rel=5e-3)


def test_weights_and_optimizer_of_megatrons_unit_case():
    """test_weight_and_optimizer_memory.py: TP 2, PP 2, EP 2, ETP 4 on 64 ranks."""
    dense, whole, expert = (256 + 256 + 256 + 128) // 2 + 256, (16 + 16 + 32 + 8) // 2, 1024 // 2
    table = memory.tables(products(dense, whole, expert), Kernels())
    layout = Layout(
        devices=64.0,
        tensor=2.0,
        pipeline=2.0,
        expert=2.0,
        expert_tensor=4.0,
        zero_stage=1.0,
    )
    assert states(memory.per_device(table, layout, 1.0)) == pytest.approx(3195.0)


# --- Korthikanti et al. 2022 (arXiv 2205.05198) -------------------------------------------------

MODELS = {
    "22B": (48, 6144, 64, 1, 4, 1),
    "175B": (96, 12288, 96, 8, 1, 3),
    "530B": (105, 20480, 128, 35, 1, 3),
    "1T": (128, 25600, 160, 64, 1, 1),
}
"""layers, hidden, heads, pipeline, micro-batch, interleave; tensor 8, 2,048 tokens."""


def korthikanti(name: str, recomputation: str, sequence_parallel: bool) -> tuple[float, float]:
    """(states, activations of the layers) on the first stage; the paper leaves embeddings out."""
    layers, hidden, heads, pipeline, samples, interleave = MODELS[name]
    network = shapes.gpt(layers, hidden, heads, vocabulary=8, positions=0)
    layout = Layout(
        devices=8.0 * pipeline,
        tensor=8.0,
        pipeline=float(pipeline),
        sequence_parallel=float(sequence_parallel),
        interleave=float(interleave),
        micro_batch_size=float(samples),
        global_batch_size=2048.0,
    )
    kernels = Kernels("fp16-mixed", recomputation=recomputation, attention="eager")
    table = memory.tables(network, kernels, pipeline, 0)
    held = states(memory.per_device(table, layout, 2048.0))
    kept = table.layers.on(shares(layout, table.key_value_heads, 2048.0))
    return held, kept * samples * memory.in_flight(layout, 0.0)


@pytest.mark.parametrize(
    ("name", "gibibytes"),
    [("22B", 45.5625), ("175B", 45.5625), ("530B", 31.640625), ("1T", 32.958984375)],
)
def test_parameters_and_optimizer_of_figure_1(name, gibibytes):
    assert korthikanti(name, "none", False)[0] / GIB == pytest.approx(gibibytes, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "everything", "selective"),
    [
        ("22B", 59.25, 9.5625),
        ("175B", 66.84375, 12.3515625),
        ("530B", 114.0234375, 23.076171875),
        ("1T", 131.25, 26.5625),
    ],
)
def test_activations_of_figure_1(name, everything, selective):
    plain = korthikanti(name, "none", False)[1] / GIB
    both = korthikanti(name, "selective", True)[1] / GIB
    assert plain == pytest.approx(everything, rel=5e-3)
    assert both == pytest.approx(selective, rel=5e-3)


@pytest.mark.parametrize(
    ("name", "sequence", "selective", "both", "full"),
    [
        ("22B", 66.84, 49.42, 16.18, 7.64),
        ("175B", 62.04, 56.53, 18.49, 8.71),
        ("530B", 58.31, 62.04, 20.27, 9.42),
        ("1T", 58.31, 62.04, 20.27, 9.42),
    ],
)
def test_shares_of_figure_7(name, sequence, selective, both, full):
    def kept(recomputation: str, parallel: bool) -> float:
        return korthikanti(name, recomputation, parallel)[1]

    whole = kept("none", False)
    shares = [
        100 * part / whole
        for part in (
            kept("none", True),
            kept("selective", False),
            kept("selective", True),
            kept("full", False),
        )
    ]
    # The paper leaves the norms' statistics out, half a percent of what full recomputation keeps.
    assert shares == pytest.approx([sequence, selective, both, full], abs=0.25)


# --- Megatron-LM pull request 482: Llama-2-7B on one node of H800 -------------------------------


@pytest.mark.parametrize(
    ("tensor", "pipeline", "samples", "batch", "zero", "gigabytes"),
    [(1.0, 2.0, 2.0, 2048.0, 1.0, 49.8), (8.0, 1.0, 4.0, 128.0, 0.0, 28.8)],
)
def test_measured_runs_of_llama_2_7b(tensor, pipeline, samples, batch, zero, gigabytes):
    """The sequence length is not stated there; 2,048 reproduces both readings."""
    layout = Layout(
        devices=8.0,
        tensor=tensor,
        pipeline=pipeline,
        zero_stage=zero,
        micro_batch_size=samples,
        global_batch_size=batch,
    )
    parts, stage = memory.worst_stage(registry.build(LLAMA_2_7B), Kernels(), layout, 2048.0)
    assert stage == 0
    assert parts.allocated / 1e9 == pytest.approx(gigabytes, rel=0.06)


# --- rules --------------------------------------------------------------------------------------


def table_of(config=GROUPED, pipeline=1, stage=0, **kernels) -> MemoryTable:
    return memory.tables(registry.build(config), Kernels(**kernels), pipeline, stage)


@pytest.mark.parametrize(
    ("precision", "gradient", "bytes_each"),
    [
        ("fp32", "fp32", 16),
        ("bf16", "fp32", 8),
        ("bf16-autocast", "fp32", 16),
        ("bf16-mixed", "fp32", 18),
        ("bf16-mixed", "bf16", 16),
        ("fp16-mixed", "fp32", 18),
    ],
)
def test_bytes_a_parameter_by_precision(precision, gradient, bytes_each):
    network = registry.build(LLAMA_2_7B)
    table = table_of(LLAMA_2_7B, precision=precision, gradient_precision=gradient)
    parts = memory.per_device(table, Layout(), 128.0)
    assert states(parts) == bytes_each * count(network).total


@pytest.mark.parametrize(
    ("optimizer", "bytes_each"),
    [("adamw", 8.0), ("lion", 4.0), ("sgd", 0.0), ("sgd-momentum", 4.0), ("adamw-8bit", 2.03)],
)
def test_states_of_optimizers(optimizer, bytes_each):
    total = count(registry.build(LLAMA_2_7B)).total
    parts = memory.per_device(
        table_of(LLAMA_2_7B, precision="fp32", optimizer=optimizer), Layout(), 1.0
    )
    assert parts.optimizer_bytes / total == pytest.approx(bytes_each, abs=0.01)


def test_adafactor_keeps_rows_and_columns_and_muon_one_state_of_hidden_matrices():
    network = registry.build(LLAMA_2_7B)
    adafactor = memory.per_device(
        table_of(LLAMA_2_7B, precision="fp32", optimizer="adafactor"), Layout(), 1.0
    )
    layer = 4 * (4096 + 4096) + 3 * (4096 + 11008) + 2 * 4096
    expected = 4 * (32 * layer + 2 * (32000 + 4096) + 4096)
    assert adafactor.optimizer_bytes == expected
    muon = memory.per_device(
        table_of(LLAMA_2_7B, precision="fp32", optimizer="muon"), Layout(), 1.0
    )
    beside = 2 * 32000 * 4096 + 65 * 4096
    assert muon.optimizer_bytes == 4 * (count(network).total + beside)


def test_keys_and_values_are_divided_no_further_than_their_heads():
    eight = memory.per_device(table_of(), Layout(devices=8.0, tensor=8.0), 1.0).parameters_bytes
    sixteen = memory.per_device(table_of(), Layout(devices=16.0, tensor=16.0), 1.0).parameters_bytes
    keys = 2 * 32 * 2 * 4096 * 1024
    norms = 2 * 65 * 4096
    assert sixteen - keys / 8 - norms == pytest.approx((eight - keys / 8 - norms) / 2)


def test_zero_shards_over_data_and_context_ranks_alone():
    layout = Layout(devices=64.0, tensor=4.0, pipeline=2.0, context=2.0, zero_stage=1.0)
    table = table_of(pipeline=2)
    whole = memory.per_device(table, Layout(devices=8.0, tensor=4.0, pipeline=2.0), 1.0)
    assert memory.per_device(table, layout, 1.0).optimizer_bytes == whole.optimizer_bytes / 8


def test_hybrid_sharding_stops_at_its_group():
    layout = Layout(devices=64.0, zero_stage=3.0, shard_group=8.0)
    alone = memory.per_device(table_of(), Layout(), 1.0)
    assert memory.per_device(table_of(), layout, 1.0).parameters_bytes == alone.parameters_bytes / 8


def test_a_tied_head_is_held_again_on_the_last_stage():
    tied = LLAMA_2_7B | {"tie_word_embeddings": True}
    matrix = 2 * 32000 * 4096

    def parameters(config, pipeline, stage):
        return memory.per_device(table_of(config, pipeline, stage), Layout(), 1.0).parameters_bytes

    assert parameters(tied, 2, 1) == parameters(LLAMA_2_7B, 2, 1)
    assert parameters(LLAMA_2_7B, 1, 0) - parameters(tied, 1, 0) == matrix


def test_offloading_moves_states_to_the_host():
    states_away = memory.per_device(table_of(offload="optimizer"), Layout(), 512.0)
    assert states_away.optimizer_bytes == 0.0
    both_away = memory.per_device(table_of(offload="parameters"), Layout(), 512.0)
    assert both_away.parameters_bytes == 0.0
    assert both_away.temporaries_bytes > states_away.temporaries_bytes


def test_recomputation_sequence_and_context_parallelism_lower_activations():
    def kept(layout=None, **kernels):
        table = table_of(attention="eager", **kernels)
        return memory.per_device(table, layout or Layout(), 4096.0).activations_bytes

    assert kept() > kept(recomputation="selective") > kept(recomputation="full")
    half = 0.5 * (kept() + kept(recomputation="full"))
    assert kept(recomputation="half") == pytest.approx(half)
    quarter = kept(recomputation="full", recomputed_share=0.25)
    assert quarter == pytest.approx(0.75 * kept() + 0.25 * kept(recomputation="full"))
    tensor = Layout(devices=4.0, tensor=4.0)
    parallel = Layout(devices=4.0, tensor=4.0, sequence_parallel=1.0)
    assert kept(parallel) < kept(tensor) < kept()
    assert kept(Layout(devices=4.0, context=4.0)) == pytest.approx(kept() / 4)


def test_flash_attention_keeps_no_scores():
    def square(attention):
        return table_of(attention=attention).layers.tensor.square

    assert square("flash") == 0.0
    assert square("eager") == 32 * 32 * 2.0


def test_a_fused_buffer_of_gradients_lasts_and_modules_free_theirs_between_steps():
    def held(implementation, batch):
        table = table_of(implementation=implementation)
        return memory.per_device(table, Layout(global_batch_size=batch), 2048.0).allocated

    assert held("fused", 1.0) == held("fused", 2.0)
    assert held("modules", 1.0) < held("modules", 2.0)


def test_micro_batches_in_flight_of_1f1b_and_interleaving():
    plain = Layout(devices=4.0, pipeline=4.0, global_batch_size=64.0)
    assert [memory.in_flight(plain, float(stage)) for stage in range(4)] == [4.0, 3.0, 2.0, 1.0]
    few = Layout(devices=4.0, pipeline=4.0, global_batch_size=2.0)
    assert memory.in_flight(few, 0.0) == 2.0
    interleaved = Layout(devices=4.0, pipeline=4.0, interleave=2.0, global_batch_size=64.0)
    assert memory.in_flight(interleaved, 0.0) == pytest.approx(4 + 3 / 2)


def test_the_worst_stage_is_the_worst_of_all_stages():
    layout = Layout(
        devices=8.0,
        pipeline=8.0,
        micro_batch_size=2.0,
        global_batch_size=64.0,
        zero_stage=1.0,
    )
    network = registry.build(GROUPED)
    every = [
        memory.per_device(
            memory.tables(network, Kernels(), 8, stage),
            layout,
            8192.0,
            memory.in_flight(layout, float(stage)),
        ).peak
        for stage in range(8)
    ]
    parts, stage = memory.worst_stage(network, Kernels(), layout, 8192.0)
    assert parts.peak == max(every)
    assert stage == every.index(max(every))


def test_parts_add_up_and_overhead_is_beside_them():
    parts = memory.per_device(table_of(), Layout(), 4096.0)
    assert parts.peak == parts.allocated + parts.overhead_bytes
    assert parts.allocated == pytest.approx(
        states(parts) + parts.activations_bytes + parts.temporaries_bytes
    )


def test_floats_and_arrays_agree():
    devices = np.array([8.0, 16.0, 64.0])
    zero = np.array([0.0, 2.0, 3.0])
    sequence = np.array([512.0, 2048.0, 8192.0])
    table = table_of(implementation="modules", recomputation="full")
    together = memory.per_device(
        table, Layout(devices=devices, zero_stage=zero, global_batch_size=256.0), sequence
    )
    for index in range(3):
        alone = memory.per_device(
            table,
            Layout(
                devices=float(devices[index]),
                zero_stage=float(zero[index]),
                global_batch_size=256.0,
            ),
            float(sequence[index]),
        )
        assert [part[index] if np.ndim(part) else part for part in together] == pytest.approx(
            list(alone)
        )


def test_intervals_hold_the_peak_and_know_their_class():
    parts = memory.per_device(table_of(), Layout(), 2048.0)
    for evidence in ("fused", "modules", "quantised", "no such class"):
        interval = memory.interval(parts, evidence)
        assert interval.low < interval.value == parts.peak < interval.high
    assert memory.bounds("no such class") == memory.bounds("general")


def test_each_sample_brings_its_logits_which_a_plain_loop_holds_to_the_end():
    """In 16 bits, 32,000 for each of 2,048 tokens."""
    table = table_of(implementation="modules")
    for samples in (1.0, 3.0):
        layout = Layout(micro_batch_size=samples, global_batch_size=samples)
        parts = memory.per_device(table, layout, 2048.0)
        logits = parts.overhead_bytes - memory.overhead(parts.allocated, layout)
        assert logits == pytest.approx(samples * 2048 * 32000 * 2)


def test_a_device_holds_its_share_of_each_kind_of_weight():
    layout = Layout(devices=64.0, tensor=8.0, expert=4.0, expert_tensor=2.0)
    share = shares(layout, 2.0, 1.0)
    amount = SplitBytes(80.0, 20.0, 3.0, 160.0, 2.0)
    assert on_device(amount, share) == 80 / 8 + 20 / 2 + 3 + 160 / 8
    assert sharded(amount, share, 0.5, 0.25) == 0.5 * (10 + 10 + 3) + 0.25 * 20
