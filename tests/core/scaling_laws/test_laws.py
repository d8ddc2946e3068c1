"""The laws as data: names, sources, and what each says of itself."""

import pytest

from service.core.scaling_laws import ALIASES, DEFAULT_LAW, LAWS, WARNINGS, LawError, find_law

REQUIRED = (
    "kaplan-2020",
    "hoffmann-2022-approach-1",
    "hoffmann-2022-approach-2",
    "hoffmann-2022-approach-3",
    "besiroglu-2024",
    "llama-3-2024",
    "deepseek-2024",
    "muennighoff-2023",
    "porian-2024",
    "gadre-2024",
)


def test_the_default_is_the_corrected_fit_and_the_rounded_constants_are_not():
    assert find_law("default").name == DEFAULT_LAW == "besiroglu-2024"
    assert LAWS[DEFAULT_LAW].standing == "default"
    assert [law.name for law in LAWS.values() if law.standing == "default"] == [DEFAULT_LAW]
    assert find_law("chinchilla").name == "hoffmann-2022-approach-3"


@pytest.mark.parametrize("name", REQUIRED)
def test_the_laws_that_are_promised_are_there(name):
    assert find_law(name).name == name


@pytest.mark.parametrize("law", LAWS.values(), ids=lambda law: law.name)
def test_every_law_names_its_source_its_data_and_what_it_counts(law):
    assert "20" in law.source
    assert law.checked in {"full text", "secondary", "recalled"}
    assert law.data
    assert law.parameters_definition
    assert set(law.notes) <= set(WARNINGS)
    if law.checked == "recalled":
        assert "recalled_constants" in law.notes
    if law.standing in {"superseded", "trend_only"}:
        assert law.notes


def test_every_alias_leads_to_a_law():
    for alias, name in ALIASES.items():
        assert find_law(alias) is LAWS[name]


@pytest.mark.parametrize("spelling", ["Besiroglu 2024", "besiroglu_2024", "EPOCH (default)"])
def test_case_spaces_and_brackets_do_not_matter(spelling):
    assert find_law(spelling).name == "besiroglu-2024"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(LawError, match="did you mean besiroglu-2024"):
        find_law("besirolgu-2024")
    with pytest.raises(LawError, match="known: besiroglu-2024"):
        find_law("xyz")


def test_a_law_without_a_loss_says_so():
    with pytest.raises(LawError, match="gives no loss"):
        find_law("llama-3-2024").flops_for_loss(2.0)
    with pytest.raises(LawError, match="no loss of the form"):
        find_law("kaplan-2020").additive  # noqa: B018
