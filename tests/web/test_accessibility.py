"""axe-core finds no violation on any page, light or dark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests import tools
from tests.web.browsing import go, opened, text

PAGES = {"/": ".verdict", "/catalog": "#facts td", "/record": "#groups td"}
"""What each page shows once it is complete."""


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tools.packages(tmp_path_factory.mktemp("npm"))
    return (folder / "node_modules/axe-core/axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(
    axe: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[webdriver.Chrome]:
    driver = opened(1300, 1000, tmp_path_factory.mktemp("profile"))
    scheme = {"name": "prefers-color-scheme", "value": request.param}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    yield driver
    driver.quit()


@pytest.mark.parametrize("path", PAGES)
def test_a_page_has_no_violation(
    browser: webdriver.Chrome, axe: str, server_url: str, path: str
) -> None:
    go(browser, server_url + path)
    text(browser, PAGES[path])
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    said = {
        broken["id"]: [node["html"][:200] + node["failureSummary"] for node in broken["nodes"]]
        for broken in found["violations"]
    }
    assert said == {}
    assert found["passes"]
