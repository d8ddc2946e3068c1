"""Which models are the smaller ones of a model, and what larger one has the same bytes."""

from __future__ import annotations

import pytest

from service.calibration import reference
from service.catalog import seeds
from service.catalog.kinds import ModelFacts
from service.core import parameters
from service.core.lineage import Relative, derived, line, related, same_bytes, smaller
from service.core.quality_evidence import findings
from service.core.weight_formats import weight_bytes


def relative(name: str, family: str = "llama", released: str = "2024-07") -> Relative:
    network = reference.network(name)
    return Relative(name, family, released, parameters.count(network).total, network)


LARGE, SMALL, OLD = (
    relative("llama-3.1-70b"),
    relative("llama-3.1-8b"),
    relative("llama-3-8b", released="2024-04"),
)


def test_of_one_size_the_newest_is_kept_and_nothing_larger() -> None:
    found = smaller(LARGE, [OLD, SMALL, LARGE, relative("llama-3.1-405b")])
    assert [one.name for one in found] == ["llama-3.1-8b"]


@pytest.mark.parametrize(
    ("name", "family", "is_related"),
    [
        ("llama-2-7b", "llama", True),
        ("code-llama-7b", "llama", True),
        ("llama-4-scout", "llama4_text", True),
        ("our-own", "llama", True),
        ("", "llama", True),
        ("qwen3-8b", "qwen3", False),
        ("yi-34b", "llama", False),
        ("smollm2-360m", "llama", False),
        ("deepseek-coder-6.7b", "llama", False),
    ],
)
def test_a_relative_is_of_the_line_of_its_name_else_of_its_architecture(
    name: str, family: str, is_related: bool
) -> None:
    assert related(LARGE, SMALL._replace(name=name, family=family)) is is_related


def test_generations_and_mixtures_of_one_line_are_related() -> None:
    old, new = (
        SMALL._replace(name="qwen2.5-7b", family="qwen2"),
        SMALL._replace(name="qwen3-30b-a3b", family="qwen3_moe"),
    )
    assert related(old, new)
    assert not related(
        SMALL._replace(name="gpt-2", family="gpt2"),
        SMALL._replace(name="gpt-oss-20b", family="gpt_oss"),
    )


@pytest.mark.parametrize(
    ("a", "b", "is_related"),
    [
        (("mixtral-8x7b", "mixtral"), ("mistral-7b", "mistral"), True),
        (("mixtral-8x7b", "mixtral"), ("ministral-8b", "ministral"), True),
        (("", "mixtral"), ("mistral-small-24b", "mistral"), True),
        (("kimi-k2", "kimi_k2"), ("moonlight-16b-a3b", "deepseek_v3"), True),
        (("deepseek-v3", "deepseek_v3"), ("moonlight-16b-a3b", "deepseek_v3"), False),
        (("phi-3.5-moe", "phimoe"), ("phi-4", "phi3"), True),
        (("gpt-3-175b", "gpt2"), ("gpt-2-xl", "gpt2"), True),
        (("gpt-2", "gpt2"), ("distilgpt2", "gpt2"), True),
        (("gpt-neox-20b", "gpt_neox"), ("gpt-j-6b", "gptj"), False),
        (("gopher-280b", "gopher"), ("chinchilla-70b", "gopher"), True),
        (("bert-base", "bert"), ("distilbert", "distilbert"), True),
        (("bert-base", "bert"), ("roberta-base", "roberta"), False),
        (("olmo-2-32b", "olmo2"), ("olmoe-1b-7b", "olmoe"), True),
        (("t5-11b", "t5"), ("flan-t5-xl", "t5"), True),
        (("opt-66b", "opt"), ("optimus", "optimus"), False),
    ],
)
def test_lines_are_those_of_their_makers(
    a: tuple[str, str], b: tuple[str, str], is_related: bool
) -> None:
    first, second = (SMALL._replace(name=name, family=family) for name, family in (a, b))
    assert related(first, second) is is_related


def test_each_catalogued_model_of_tokens_has_a_line_with_a_source() -> None:
    text = [
        draft
        for draft in seeds.drafts()
        if isinstance(draft.payload, ModelFacts) and draft.payload.modality == "text"
    ]
    assert len(text) > 90
    assert [draft.name for draft in text if not line(draft.name, "")] == []


def test_a_model_for_one_task_stands_in_for_a_general_one_only_there() -> None:
    code = relative("code-llama-34b", released="2024-01")
    assert [one.name for one in smaller(LARGE, [code], "code")] == ["code-llama-34b"]
    assert smaller(LARGE, [code], "chat") == []
    coder = relative("code-llama-7b", released="2024-01")
    assert smaller(code, [coder], "chat") == [coder]


def test_an_earlier_generation_gives_way_to_a_newer_and_smaller_model() -> None:
    early = relative("llama-2-13b", released="2023-07")
    assert smaller(LARGE, [early, SMALL]) == [SMALL]
    assert smaller(LARGE, [early]) == [early]
    recent = early._replace(released="2023-08")
    assert smaller(LARGE, [recent, SMALL]) == [recent, SMALL]
    undated = LARGE._replace(released="")
    assert smaller(undated, [early, SMALL]) == [early, SMALL]


def test_of_one_size_what_was_made_out_of_the_model_itself_comes_first() -> None:
    base = relative("bert-base", "bert", "2018-10")
    tiny, albert = relative("tinybert", "bert", "2019-09"), relative("albert-base-v2", "albert")
    assert smaller(base, [albert._replace(parameters=tiny.parameters), tiny]) == [tiny]


def test_the_largest_model_of_the_same_bytes_is_found() -> None:
    small = weight_bytes(SMALL.network, "bf16").total
    found = same_bytes(small, SMALL.parameters, [LARGE], ("fp8", "gguf:IQ2_XXS", "gguf:IQ1_S"))
    assert found is not None
    one, weights = found
    assert (one, weights) == (LARGE, "gguf:IQ2_XXS")
    assert weight_bytes(one.network, weights).total <= 1.25 * small
    assert same_bytes(small, SMALL.parameters, [LARGE], ("bf16", "fp8")) is None


def test_each_derivation_names_its_source() -> None:
    assert all(entry.source and entry.how for entry in derived().values())
    assert {name for entry in derived().values() for name in entry.findings} <= {
        finding.id for finding in findings()
    }
    assert derived()["llama-3.2-3b"].how == ("pruned", "distilled")
