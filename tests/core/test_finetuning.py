"""Adapters and frozen bases as changes of the tree, and the models that objectives hold."""

import pytest

from service.core import finetuning, memory
from service.core.architecture.families import registry
from service.core.finetuning import OBJECTIVES, Adapters, UnknownTarget, adapted
from service.core.memory.objectives import held_for
from service.core.parallelism import Kernels, Layout
from service.core.parameters import count
from service.core.weight_formats import weight_bytes


def llama(**changes):
    config = {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "tie_word_embeddings": False,
    }
    return registry.build(config | changes)


THIRTEEN = {
    "hidden_size": 5120,
    "intermediate_size": 13824,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
}
THREE = {
    "vocab_size": 128256,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 28,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
BF16 = Kernels("bf16", "adamw", "none", "flash", "modules")


def parts_of(network, kernels=BF16, samples=1.0, sequence=1024.0):
    layout = Layout(micro_batch_size=samples, global_batch_size=samples)
    return memory.per_device(memory.tables(network, kernels), layout, sequence)


@pytest.mark.parametrize(
    ("network", "rank", "expected"),
    [(llama(), 8, 4_194_304), (llama(**THIRTEEN), 8, 6_553_600), (llama(**THREE), 32, 9_175_040)],
    ids=["llama-2-7b", "llama-2-13b", "llama-3.2-3b"],
)
def test_trained_parameters_of_published_adapters(network, rank, expected):
    found = count(adapted(network, Adapters(rank, ("q_proj", "v_proj"))))
    assert found.trainable == expected
    assert found.total == count(network).total + expected


def test_all_linear_leaves_the_head_alone():
    network = llama()
    everything = adapted(network, Adapters(4, ("all-linear",)))
    layer = 4 * (4096 + 4096) + 3 * (4096 + 11008)
    assert count(everything).trainable == 4 * 32 * layer


def test_an_unknown_target_is_refused_with_the_known_ones():
    with pytest.raises(UnknownTarget, match=r"no product is named 'query'.*q_proj"):
        adapted(llama(), Adapters(8, ("query",)))


def test_adapters_hold_fp32_states_beside_a_16_bit_base():
    base, trained = count(llama()).total, 4_194_304
    parts = parts_of(adapted(llama(), Adapters(8, ("q_proj", "v_proj"))))
    assert parts.parameters_bytes == 2 * base + 4 * trained
    assert parts.gradients_bytes == 4 * trained
    assert parts.optimizer_bytes == 8 * trained


def test_adapters_may_follow_the_base():
    trained = 4_194_304
    parts = parts_of(adapted(llama(), Adapters(8, ("q_proj", "v_proj"), number_format="base")))
    assert parts.gradients_bytes == 2 * trained
    assert parts.optimizer_bytes == 4 * trained


@pytest.mark.parametrize("stored", ["nf4", "nf4-double", "gptq-int4-g128", "int8"])
def test_a_quantised_base_has_the_size_of_the_serving_format(stored):
    network = adapted(llama(), Adapters(8, ("q_proj",), base_format=stored))
    adapters = 4 * count(network).trainable
    expected = weight_bytes(llama(), stored).total
    assert parts_of(network).parameters_bytes - adapters == pytest.approx(expected, rel=1e-3)


def test_a_quantised_head_saves_more_and_is_unpacked_when_used():
    plain = parts_of(adapted(llama(), Adapters(8, ("q_proj",), base_format="nf4")))
    head = parts_of(
        adapted(llama(), Adapters(8, ("q_proj",), base_format="nf4", quantised_head=True))
    )
    assert head.parameters_bytes < plain.parameters_bytes
    assert head.temporaries_bytes > plain.temporaries_bytes


def test_modules_trained_in_full_stand_beside_their_originals():
    network = llama()
    with_head = adapted(network, Adapters(8, ("q_proj",), trained=("embed_tokens", "lm_head")))
    matrices = 2 * 32000 * 4096
    lora = count(adapted(network, Adapters(8, ("q_proj",)))).trainable
    assert count(with_head).trainable == lora + matrices
    assert count(with_head).total == count(network).total + lora + matrices


def test_a_frozen_base_still_passes_gradients_on():
    """Activations do not shrink to the adapters' own: products keep no input, all else stays."""
    full = parts_of(llama()).activations_bytes
    light = parts_of(adapted(llama(), Adapters(8, ("q_proj", "v_proj")))).activations_bytes
    assert 0.5 * full < light < full


def test_the_rank_changes_activations_little():
    def kept(rank):
        return parts_of(adapted(llama(), Adapters(rank, ("q_proj", "v_proj")))).activations_bytes

    assert kept(64) - kept(8) == 1024 * 32 * 2 * 56 * 4


def test_a_frozen_network_trains_nothing():
    network = finetuning.frozen(llama())
    assert count(network).trainable == 0
    assert parts_of(network).optimizer_bytes == 0


@pytest.mark.parametrize(
    ("objective", "bytes_each"),
    [("sft", 16), ("dpo", 18), ("dpo-precomputed", 16), ("orpo", 16), ("kto", 18), ("ppo", 36)],
)
def test_bytes_a_parameter_by_objective(objective, bytes_each):
    """16-bit mixed AdamW with 16-bit gradients, all models of the policy's size."""
    kernels = Kernels("bf16-mixed", gradient_precision="bf16")
    table = held_for(memory.tables(llama(), kernels), OBJECTIVES[objective])
    parts = memory.per_device(table, Layout(), 512.0)
    held = parts.parameters_bytes + parts.gradients_bytes + parts.optimizer_bytes
    assert held == bytes_each * count(llama()).total


def test_grpo_holds_a_reference_and_a_rollout_copy():
    kernels = Kernels("bf16-mixed", gradient_precision="bf16")
    plain = memory.tables(llama(), kernels)
    total = count(llama()).total
    for name, copies in (("grpo", 2), ("grpo-no-reference", 1)):
        held = memory.per_device(held_for(plain, OBJECTIVES[name]), Layout(), 512.0)
        alone = memory.per_device(plain, Layout(), 512.0)
        assert held.parameters_bytes - alone.parameters_bytes == copies * 2 * total


def test_preferences_run_two_answers_and_an_adapter_is_its_own_reference():
    network = adapted(llama(), Adapters(8, ("q_proj",)))
    plain = memory.tables(network, BF16)
    pair = held_for(plain, OBJECTIVES["dpo"], adapters=True)
    layout = Layout()
    alone, both = (memory.per_device(table, layout, 512.0) for table in (plain, pair))
    assert both.parameters_bytes == alone.parameters_bytes
    assert both.activations_bytes == 2 * alone.activations_bytes


def test_dropout_before_an_adapter_keeps_a_mask_for_each_element():
    """One byte an element of the query projection's input, in each of 32 layers."""
    targets = ("q_proj",)
    plain, masked = (adapted(llama(), Adapters(8, targets, dropout=p)) for p in (0.0, 0.1))
    names = [leaf.operator.name for leaf in masked.leaves()]
    assert names.count("lora_dropout") == 1
    assert "lora_dropout" not in [leaf.operator.name for leaf in plain.leaves()]
    kept = parts_of(masked).activations_bytes - parts_of(plain).activations_bytes
    assert kept >= 32 * 1024 * 4096


def test_a_frozen_copy_is_held_at_the_precision_of_computing():
    network = finetuning.frozen(llama())
    weights = memory.tables(network, Kernels("bf16-autocast")).states.weights
    assert weights.tensor + weights.key_value + weights.whole == 2 * count(network).total
