"""Remembered answers: never another request's, never another catalog's."""

from __future__ import annotations

import httpx

from service.api.answers import KEPT, Answers, Searched
from service.api.requests import EstimateRequest
from service.api.responses import EstimateResponse


def request(tokens: float) -> EstimateRequest:
    return EstimateRequest.model_validate(
        {
            "model": {"kind": "catalog", "name": "gpt-2"},
            "workload": {"kind": "pretraining", "tokens": tokens},
        }
    )


def test_the_same_question_gets_the_same_bytes(client: httpx.Client) -> None:
    body = {"model": {"kind": "catalog", "name": "gpt-2"}}
    first, second = (client.post("/estimate", json=body).content for _ in range(2))
    assert first == second


def test_a_question_is_worked_out_once_for_each_state_of_the_catalog() -> None:
    answers, made = Answers(), []

    def work() -> EstimateResponse:
        made.append(EstimateResponse.model_construct(verdict=None))
        return made[-1]

    first = answers.answer(request(1e9), "a", work)
    assert answers.answer(request(1e9), "a", work).json is first.json
    assert answers.answer(request(2e9), "a", work).json is not first.json
    assert answers.answer(request(1e9), "b", work).json is not first.json
    assert len(made) == 3


def test_only_the_last_answers_are_kept() -> None:
    answers, made = Answers(), []

    def work() -> EstimateResponse:
        made.append(EstimateResponse.model_construct(verdict=None))
        return made[-1]

    for tokens in range(1, KEPT + 2):
        answers.answer(request(float(tokens)), "a", work)
    answers.answer(request(1.0), "a", work)
    assert len(made) == KEPT + 2


def test_a_request_is_known_again_whatever_its_layout_does_not_depend_on() -> None:
    searched = Searched()
    assert not searched.before(request(1e9))
    assert searched.before(request(2e9))
    assert not searched.before(
        EstimateRequest.model_validate({"model": {"kind": "catalog", "name": "bert-base"}})
    )
