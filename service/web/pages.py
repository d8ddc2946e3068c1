"""Routes of the pages. Everything they load comes from this service."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

STATIC = Path(str(files("service.web").joinpath("static")))
PLOTLY = Path(str(files("plotly").joinpath("package_data/plotly.min.js")))
"""The plotting library, as its Python package ships it."""

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-cache",
}
"""Plotly sets styles of its elements, hence `unsafe-inline` for styles alone."""

router = APIRouter(include_in_schema=False)
static = StaticFiles(directory=STATIC)


def _page(name: str) -> FileResponse:
    return FileResponse(STATIC / name, headers=HEADERS)


@router.get("/", name="page")
async def page() -> FileResponse:
    """The page that a platform engineer or a buyer opens first."""
    return _page("index.html")


@router.get("/catalog", name="catalog_page")
async def catalog_page() -> FileResponse:
    """Models, accelerators, regions and prices with their dates and sources."""
    return _page("catalog.html")


@router.get("/record", name="accuracy_page")
async def accuracy_page() -> FileResponse:
    """Predicted against measured, by source."""
    return _page("record.html")


@router.get("/static/plotly.min.js", name="plotly")
async def plotly() -> FileResponse:
    """The plotting library; it changes only with its package."""
    return FileResponse(
        PLOTLY, media_type="text/javascript", headers={"Cache-Control": "max-age=86400"}
    )


def install(app: FastAPI) -> FastAPI:
    """The application with its pages."""
    app.include_router(router)
    app.mount("/static", static, name="static")
    return app
