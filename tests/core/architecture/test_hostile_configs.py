"""An absurd configuration is refused by a ConfigError, whatever its family: never a crash."""

import json
import math
from pathlib import Path

import pytest

from service.core import parameters
from service.core.architecture.families import registry
from service.core.architecture.families.config import ConfigError, UnknownArchitecture

TRUTH = Path(__file__).parents[2] / "data" / "truth"
MODELS = json.loads((TRUTH / "parameters.json").read_text())["models"]
EXAMPLES = {
    row["model_type"]: name
    for name, row in sorted(MODELS.items())
    if row["model_type"] in registry.builders()
}
SIZES = (
    "hidden_size",
    "n_embd",
    "d_model",
    "num_hidden_layers",
    "n_layer",
    "n_layers",
    "num_layers",
    "num_attention_heads",
    "n_head",
    "n_heads",
    "vocab_size",
)


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": [value]}
    return value


ABSURD = [
    -1,
    10**9,
    10**400,
    1e300,
    math.inf,
    math.nan,
    0.5,
    "12",
    [12],
    {"value": 12},
    nested(100),
    True,
]


def config(model_type):
    return json.loads((TRUTH / "configs" / f"{EXAMPLES[model_type]}.json").read_text())


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: str(type(value).__name__))
@pytest.mark.parametrize("model_type", sorted(EXAMPLES))
def test_an_absurd_size_is_refused_by_the_name_of_the_field(model_type, value):
    given = config(model_type)
    for field in SIZES:
        if isinstance(given.get(field), int):
            with pytest.raises(ConfigError) as refused:
                registry.build(given | {field: value})
            assert refused.value.field


@pytest.mark.parametrize("model_type", sorted(EXAMPLES))
def test_no_value_of_any_field_crashes_a_family(model_type):
    given = config(model_type)
    for field in given:
        for value in (*ABSURD, None, [], [[1]], [nested(5)], ["full_attention"], ""):
            if field == "model_type":
                continue
            try:
                network = registry.build(given | {field: value})
            except ConfigError:
                continue
            assert parameters.count(network).total >= 0


@pytest.mark.parametrize("model_type", sorted(EXAMPLES))
def test_a_config_of_nothing_but_its_type_takes_defaults_or_says_what_is_missing(model_type):
    try:
        total = parameters.count(registry.build({"model_type": model_type})).total
    except ConfigError as refused:
        missing = refused.field
        total = 0
    else:
        missing = None
    assert (total > 0) != (missing is not None)
    assert missing != "model_type"


@pytest.mark.parametrize("value", [None, 7, [], {}, "", "no-such-type", "LLAMA", "x" * 10_000])
def test_a_model_type_that_is_not_known_is_refused(value):
    with pytest.raises(ConfigError) as refused:
        registry.build({"model_type": value})
    assert refused.value.field == "model_type"
    assert len(str(refused.value)) < 400


def test_overrides_of_single_layers_are_refused():
    with pytest.raises(UnknownArchitecture, match="per_layer_config"):
        registry.build(config("llama") | {"per_layer_config": {"0": {"hidden_size": 8}}})


def test_a_list_of_kinds_must_be_as_long_as_the_network():
    with pytest.raises(ConfigError, match="layer_types"):
        registry.build(config("qwen3") | {"layer_types": ["full_attention"]})


def test_a_kind_of_layer_that_the_family_lacks_is_refused():
    kinds = ["linear_attention"] * config("qwen3")["num_hidden_layers"]
    with pytest.raises(UnknownArchitecture, match="linear_attention"):
        registry.build(config("qwen3") | {"layer_types": kinds})


def test_a_class_that_is_not_handled_is_refused():
    with pytest.raises(UnknownArchitecture, match="architectures"):
        registry.build(config("llama") | {"architectures": ["LlamaForQuestionAnswering"]})


def test_a_classifier_has_a_score_instead_of_a_head():
    given = config("llama") | {"tie_word_embeddings": False}
    head = parameters.count(registry.build(given)).by_component["head"]
    labels = {"id2label": {str(i): str(i) for i in range(5)}}
    classes = {"architectures": ["LlamaForSequenceClassification"]}
    score = parameters.count(registry.build(given | classes | labels)).by_component["head"]
    assert head == given["vocab_size"] * given["hidden_size"]
    assert score == 5 * given["hidden_size"]


@pytest.mark.parametrize(
    ("model_type", "field", "value"),
    [
        ("t5", "is_gated_act", True),
        ("switch_transformers", "encoder_sparse_step", 5),
        ("xlstm", "num_heads", 7),
    ],
)
def test_a_field_that_contradicts_the_others_is_refused(model_type, field, value):
    given = config(model_type) if model_type in EXAMPLES else {"model_type": model_type}
    with pytest.raises(UnknownArchitecture) as refused:
        registry.build(given | {"feed_forward_proj": "relu", field: value})
    assert refused.value.field == field
