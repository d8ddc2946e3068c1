"""The alternatives to a model in use: other formats, smaller ones, adapters, a cascade."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from service.api.alternative_models import AlternativesRequest, CandidateSpec
from service.api.problems import at, within
from service.api.request_models import CatalogModel, HuggingFaceModel
from service.api.resolve import models
from service.api.resolve.ledger import Ledger
from service.catalog.facts import Fact
from service.catalog.kinds import ModelFacts
from service.catalog.snapshot import Snapshot
from service.core import parameters
from service.core.architecture.families.config import ConfigError
from service.core.architecture.network import Network
from service.core.candidates import Candidate
from service.core.hardware import Accelerator
from service.core.lineage import Relative, derived, same_bytes, smaller
from service.core.serving import ServingJob
from service.core.weight_formats import UnknownFormat, weight_bytes

CASCADE_RATIO = 8.0
"""How many times smaller the first model of a cascade is, as near as the family has one."""
_LLAMA_CPP = ("gguf:Q8_0", "gguf:Q6_K", "gguf:Q4_K_M")
_TRANSFORMERS = ("int8", "nf4")


def usual_formats(engine: str, accelerator: Accelerator, generates: bool = True) -> tuple[str, ...]:
    """Formats that the engine reads and the device multiplies, the widest first.

    Four bits save reading, of which an encoder does little: it was measured in 16 bits and int8.
    """
    if not generates and engine != "llama.cpp":
        return ("bf16", "int8")
    if engine == "llama.cpp":
        return _LLAMA_CPP
    if engine == "transformers":
        return ("bf16", *_TRANSFORMERS)
    eight = "fp8" if "fp8" in accelerator.peak_flops else "int8"
    four = ("nvfp4",) if "fp4" in accelerator.peak_flops else ()
    return ("bf16", eight, *four, "awq-int4-g128")


def in_use(body: AlternativesRequest, snapshot: Snapshot, network: Network) -> Relative:
    """The model in use among its relatives: by its name, or as what has its architecture."""
    spec, total = body.request.model, parameters.count(network).total
    if isinstance(spec, CatalogModel):
        fact, _ = models.catalogued(snapshot, spec.name)
        return _relative(fact, network)
    family = str(spec.config.get("model_type")) if isinstance(spec, HuggingFaceModel) else ""
    unknown = Relative("", family, "", total, network)
    alike = (one for one in relatives(snapshot, network, "") if one.network == network)
    return next(alike, unknown)


def _relative(fact: Fact, network: Network) -> Relative:
    facts = fact.payload
    assert isinstance(facts, ModelFacts)
    total = parameters.count(network).total
    return Relative(fact.name, facts.family, str(facts.released or ""), total, network)


def served(network: Network) -> bool:
    """Whether it reads tokens: it generates others, with or without attention, or encodes them."""
    return network.tokens and (network.causal or bool(network.heads()))


def relatives(snapshot: Snapshot, current: Network, task: str) -> Iterator[Relative]:
    """Every model of the catalog that does what the one in use does: generates text, or encodes.

    For a task of vision those alone that see.
    """
    for fact in snapshot.facts("models"):
        try:
            _, network = models.catalogued(snapshot, fact.name)
        except ConfigError:
            continue
        sees = getattr(fact.payload, "modality", "") == "multimodal"
        alike = network.causal == current.causal and served(network)
        if alike and (sees or task != "vision"):
            yield _relative(fact, network)


def alternatives(
    body: AlternativesRequest,
    current: Candidate,
    known: Relative,
    job: ServingJob,
    snapshot: Snapshot,
    ledger: Ledger,
) -> list[Candidate]:
    """Everything that is set beside the model in use, without its adapters and its cascade."""
    generates = current.network.causal
    longest = job.longest_tokens or job.prompt_tokens + job.output_tokens
    formats = tuple(body.formats or usual_formats(job.engine, current.accelerator, generates))
    others = relatives(snapshot, current.network, body.task)
    below = smaller(known, (one for one in others if one.network.reads(longest)), body.task)
    if not below:
        ledger.warn(
            "no-smaller-relative",
            f"the catalog holds no smaller model of this line that reads {longest:g} tokens; "
            "name others in candidates",
        )
    found = [
        replace(current, name=_named(_model(current), weights), weights=weights)
        for weights in formats
        if weights != current.weights
    ]
    found += [_smaller(current, known, one) for one in below]
    found += [
        _own(place, spec, current, snapshot) for place, spec in enumerate(body.candidates or ())
    ]
    found += _beside(found, [known, *below], current, formats, ledger)
    return list({one.name: one for one in found if one.name != current.name}.values())


def _smaller(current: Candidate, known: Relative, one: Relative) -> Candidate:
    made = derived().get(one.name)
    own = made is not None and made.of == known.name != ""
    return replace(
        current,
        name=_named(one.name, current.weights),
        family=one.family,
        network=one.network,
        techniques=("smaller", *(made.how if made else ())),
        findings=made.findings if made and own else (),
    )


def _own(place: int, spec: CandidateSpec, current: Candidate, snapshot: Snapshot) -> Candidate:
    """A candidate that the caller names."""
    with within(f"/candidates/{place}"):
        network = models.resolve(snapshot, spec.model, Ledger())
    generates = current.network.causal
    if not isinstance(network, Network) or not (network.causal == generates and network.tokens):
        kind = "generates text" if generates else "encodes text"
        detail = f"{spec.name}: an alternative needs an architecture that {kind}"
        raise at("invalid-request", f"/candidates/{place}/model", detail)
    return replace(
        current,
        name=spec.name,
        network=network,
        weights=spec.weights or current.weights,
        techniques=tuple(spec.how or (_how(network, current),)),
        making_usd=spec.making_usd or 0.0,
        making_kgco2e=spec.making_kgco2e or 0.0,
    )


def _how(network: Network, current: Candidate) -> str:
    counted = parameters.count(network).total
    return "smaller" if counted < parameters.count(current.network).total else "other"


def _beside(
    found: Sequence[Candidate],
    larger: Sequence[Relative],
    current: Candidate,
    formats: Sequence[str],
    ledger: Ledger,
) -> Iterator[Candidate]:
    """For each smaller model the largest one that fewer bits bring down to its bytes."""
    alone = []
    for one in found:
        if not one.techniques:
            continue
        stored = weight_bytes(one.network, one.weights).total
        total = parameters.count(one.network).total
        partner = same_bytes(stored, total, larger, formats)
        if partner is None:
            alone.append(one.name)
        elif partner[0] is larger[0]:
            name = _named(_model(current), partner[1])
            yield replace(current, name=name, weights=partner[1])
        else:
            base = _smaller(current, larger[0], partner[0])
            yield replace(base, name=_named(partner[0].name, partner[1]), weights=partner[1])
    if alone:
        tried, names = ", ".join(formats), ", ".join(alone)
        message = f"in {tried} no larger one comes to the bytes of {names}"
        ledger.warn("nothing-larger-of-the-same-bytes", message)


def cascade(current: Candidate, others: Sequence[Candidate], share: float) -> Candidate | None:
    """A smaller model first, the one in use for what it passes on; None without a smaller one."""
    total = parameters.count(current.network).total

    def distance(one: Candidate) -> float:
        ratio = total / parameters.count(one.network).total
        return abs(math.log(ratio / CASCADE_RATIO))

    below = [one for one in others if one.techniques and one.weights == current.weights]
    if not below:
        return None
    first = min(below, key=distance)
    name = f"{first.name} then {current.name}"
    return replace(first, name=name, escalates_to=current, escalated_share=share)


def check_formats(body: AlternativesRequest, network: Network, weights: str) -> None:
    """Raise ProblemError for a format without a size rule."""
    named = [("/request/workload/weights", weights)]
    named += [(f"/formats/{i}", name) for i, name in enumerate(body.formats or ())]
    own = [(i, spec.weights) for i, spec in enumerate(body.candidates or ())]
    named += [(f"/candidates/{i}/weights", name) for i, name in own if name]
    for pointer, name in named:
        try:
            weight_bytes(network, name)
        except UnknownFormat as error:
            raise at("invalid-request", pointer, str(error)) from None


def _named(model: str, weights: str) -> str:
    return f"{model} {weights}"


def _model(candidate: Candidate) -> str:
    """The model's own name out of a candidate's."""
    return candidate.name.removesuffix(f" {candidate.weights}")
