"""What a draft must satisfy beyond its own fields.

Free aliases, known references, and for a model an architecture that the core can build.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.catalog import networks
from service.catalog.errors import FieldProblem
from service.catalog.facts import Draft
from service.catalog.kinds import ModelFacts, PriceFacts
from service.catalog.snapshot import Snapshot
from service.core.architecture.families.config import ConfigError
from service.core.parameters import count


def against(current: Snapshot, item: Draft) -> Sequence[FieldProblem]:
    """The problems of a draft in the catalog as it stands; none where it may be written."""
    if isinstance(item.payload, PriceFacts):
        return _unknown_accelerator(current, item.payload.accelerator)
    problems = _taken_aliases(current, item)
    if isinstance(item.payload, ModelFacts):
        problems = [*problems, *_unbuildable(item.payload)]
    return problems


def _unbuildable(model: ModelFacts) -> Sequence[FieldProblem]:
    try:
        counted = count(networks.build(model.architecture)).total
    except ConfigError as error:
        inside = "config/" if model.architecture.kind == "huggingface" else ""
        pointer = f"/architecture/{inside}{error.field.replace('.', '/')}"
        return [FieldProblem(pointer, str(error))]
    expected = model.expected_parameters
    if expected and abs(counted - expected.total) > expected.tolerance * expected.total:
        message = f"the architecture counts to {counted:,}"
        return [FieldProblem("/expected_parameters/total", message)]
    return ()


def _unknown_accelerator(current: Snapshot, name: str) -> Sequence[FieldProblem]:
    if name in current.shelves["accelerators"].rows:
        return ()
    near = current.suggest("accelerators", name)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return [FieldProblem("/accelerator", f"no accelerator is named {name!r}{hint}")]


def _taken_aliases(current: Snapshot, item: Draft) -> Sequence[FieldProblem]:
    shelf = current.shelves[item.kind]
    problems = []
    for index, alias in enumerate(getattr(item.payload, "aliases", ())):
        owner = alias if alias in shelf.rows else shelf.aliases.get(alias, item.name)
        if owner != item.name:
            problems.append(FieldProblem(f"/aliases/{index}", f"{alias} already means {owner}"))
    return problems
