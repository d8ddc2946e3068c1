"""Which models are the smaller ones of a model, and what larger one has the same bytes."""

from __future__ import annotations

import pytest

from service.calibration import reference
from service.core import parameters
from service.core.lineage import Relative, derived, related, same_bytes, smaller
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
        ("code-llama-7b", "llama", False),
        ("qwen3-8b", "qwen3", False),
        ("", "llama", True),
    ],
)
def test_a_relative_has_the_architecture_and_the_first_name(
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
    assert derived()["llama-3.2-3b"].how == ("pruned", "distilled")
