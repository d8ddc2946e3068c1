"""Estimates: the whole answer, its sections, and many in one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool

from service.api import validation
from service.api.answers import Answer
from service.api.context import request_id
from service.api.estimating import Context, estimate
from service.api.handlers import from_catalog
from service.api.problems import Problem, ProblemError
from service.api.request_workloads import InferenceWorkload
from service.api.requests import BatchRequest, EstimateRequest
from service.api.responses import (
    BatchItem,
    BatchResponse,
    CarbonResponse,
    EstimateResponse,
    MemoryResponse,
    ParametersResponse,
    TrainingTimeResponse,
)
from service.api.state import answers, metrics, searched, store
from service.catalog.errors import CatalogError

router = APIRouter(tags=["estimates"])
AT_ONCE = 16
"""Requests of a batch that are answered before others get their turn."""


def answered(request: Request, body: EstimateRequest) -> Answer:
    """The estimate of one request, counted."""
    context = _context(request)
    answer = answers(request).answer(body, context.id, lambda: estimate(body, context))
    metrics(request).estimate(body.model.kind, answer.admission)
    return answer


async def answered_beside(request: Request, body: EstimateRequest) -> Answer:
    """The same; a new request that needs a search for its layout runs beside the others."""
    open_layout = body.layout is None and not isinstance(body.workload, InferenceWorkload)
    if open_layout and not searched(request).before(body):
        return await run_in_threadpool(answered, request, body)
    return answered(request, body)


def _context(request: Request) -> Context:
    here = store(request)
    return Context(here.snapshot, here.health.problem)


@router.post(
    "/estimate",
    name="estimate",
    summary="Everything that can be said of a job",
    response_model=EstimateResponse,
)
async def post_estimate(request: Request, body: EstimateRequest) -> Response:
    """Parameters, memory, time, money, carbon, the best size, and whether the job may start."""
    answer = await answered_beside(request, body)
    return Response(answer.json, media_type="application/json")


@router.post("/parameters", name="estimate_parameters", summary="Exact parameter counts")
async def post_parameters(request: Request, body: EstimateRequest) -> ParametersResponse:
    """The parameters of /estimate."""
    return ParametersResponse(**_cut(await answered_beside(request, body), ParametersResponse))


@router.post("/memory", name="estimate_memory", summary="Peak memory of one device")
async def post_memory(request: Request, body: EstimateRequest) -> MemoryResponse:
    """The memory of /estimate, with its layout and verdict."""
    return MemoryResponse(**_cut(await answered_beside(request, body), MemoryResponse))


@router.post("/training-time", name="estimate_training_time", summary="How long training takes")
async def post_training_time(request: Request, body: EstimateRequest) -> TrainingTimeResponse:
    """The time of /estimate, with the work and the layout behind it."""
    return TrainingTimeResponse(**_cut(await answered_beside(request, body), TrainingTimeResponse))


@router.post("/carbon", name="estimate_carbon", summary="Energy and emissions")
async def post_carbon(request: Request, body: EstimateRequest) -> CarbonResponse:
    """The carbon of /estimate."""
    return CarbonResponse(**_cut(await answered_beside(request, body), CarbonResponse))


def _cut(answer: Answer, model: type[Any]) -> dict[str, Any]:
    whole = answer.model
    return {name: getattr(whole, name) for name in model.model_fields}


@router.post("/estimate/batch", name="estimate_batch", summary="Many unlike requests")
async def post_batch(request: Request, body: BatchRequest) -> BatchResponse:
    """Each request gets its own answer or its own problem, in the order of the requests."""
    items: list[BatchItem] = []
    for start in range(0, len(body.requests), AT_ONCE):
        some = body.requests[start : start + AT_ONCE]
        items += await run_in_threadpool(_items, request, some)
    return BatchResponse(items=items)


def _items(request: Request, entries: Sequence[Any]) -> list[BatchItem]:
    return [_item(request, entry) for entry in entries]


def _item(request: Request, entry: Any) -> BatchItem:
    try:
        return BatchItem(estimate=answered(request, EstimateRequest.model_validate(entry)).model)
    except ValidationError as error:
        problem = validation.problem(error.errors(include_url=False), entry)
    except ProblemError as error:
        problem = error
    except CatalogError as error:
        problem = from_catalog(error)
    document = problem.document(request.url.path, request_id.get())
    return BatchItem(problem=Problem.model_validate(document))
