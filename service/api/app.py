"""The application, put together: `create_app(settings)`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service import __version__
from service.api import handlers, openapi
from service.api.answers import Answers, Searched
from service.api.lifespan import lifespan
from service.api.metrics import Metrics
from service.api.middleware import Alias, BodyGuard, Gate, Lock, Observe
from service.api.routes import (
    accuracy,
    alternatives,
    bulk,
    catalog,
    claims,
    compute_optimal,
    estimates,
    layouts,
    operations,
    places,
    runs,
    scaling_laws,
    sweeps,
)
from service.catalog.store import Store
from service.settings import Settings

DESCRIPTION = (
    "What a machine-learning model will need, before it is run: parameters, memory, time, "
    "money, energy, carbon, and the right size. Every predicted number is an interval, every "
    "assumption is named with its source, and every error is a problem document (RFC 9457). "
    "The same routes answer under /v1."
)


def create_app(settings: Settings) -> FastAPI:
    """The application. Nothing is opened before it starts.

    Raises SettingsError where it would be unsafe to serve with these settings.
    """
    settings = settings.checked()
    app = FastAPI(
        title="model-sizing",
        summary="Memory, time, money and carbon of a model, before it is run",
        description=DESCRIPTION,
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        separate_input_output_schemas=False,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.store = Store(settings.database_url, settings.snapshot_seconds)
    app.state.metrics = Metrics(app.state.store)
    app.state.answers = Answers()
    app.state.searched = Searched()
    handlers.install(app)
    openapi.install(app)
    for router in (
        estimates.router,  # first, since routes are tried in turn
        operations.router,
        compute_optimal.router,
        scaling_laws.router,
        sweeps.router,
        layouts.router,
        alternatives.router,
        places.router,
        claims.router,
        accuracy.router,
        bulk.router,
        runs.router,
        catalog.router(),
    ):
        app.include_router(router)
    _add_layers(app, settings)
    return app


def _add_layers(app: FastAPI, settings: Settings) -> None:
    """The layers of `middleware.py`; the last that is added is the outermost."""
    app.add_middleware(Gate, limit=settings.max_concurrency)
    app.add_middleware(BodyGuard, limit=settings.max_body_bytes)
    if settings.reads == "closed":
        app.add_middleware(Lock, settings=settings)
    app.add_middleware(Alias)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "If-None-Match"],
            expose_headers=["ETag", "X-Request-ID"],
        )
    app.add_middleware(Observe, record=app.state.metrics.record)
