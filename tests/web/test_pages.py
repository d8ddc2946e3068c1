"""The pages in a real Chromium, against a live server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.parse import quote, urlsplit

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from service.core.quality_evidence import Task
from tests.web.browsing import go, opened, text

CONFIG = Path(__file__).parents[1] / "data/truth/configs/llama3_2_1b.json"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    driver = opened(1300, 1000, tmp_path_factory.mktemp("profile"))
    yield driver
    driver.quit()


def link(url: str, request: dict[str, object]) -> str:
    return f"{url}/#{quote(json.dumps(request))}"


TOO_LARGE = {
    "model": {"kind": "catalog", "name": "llama-3.1-70b"},
    "workload": {"kind": "pretraining"},
    "hardware": {"accelerator": "h100-sxm", "count": 8},
}


def test_a_pasted_config_gets_a_verdict(browser: webdriver.Chrome, server_url: str) -> None:
    go(browser, server_url)
    text(browser, ".verdict")
    field = browser.find_element(By.ID, "config")
    browser.execute_script("arguments[0].value = arguments[1]", field, CONFIG.read_text())
    browser.find_element(By.CSS_SELECTOR, "button.primary").click()
    WebDriverWait(browser, 60).until(lambda d: "1.24 billion" in d.page_source)
    assert text(browser, ".verdict") in ("It fits", "At risk: the interval straddles the limit")
    assert browser.find_elements(By.CSS_SELECTOR, ".plot svg")


def test_a_change_is_applied_and_makes_the_job_fit(
    browser: webdriver.Chrome, server_url: str
) -> None:
    go(browser, link(server_url, TOO_LARGE))
    assert text(browser, ".verdict") == "It does not fit"
    browser.find_element(By.CSS_SELECTOR, "ul.changes button").click()
    WebDriverWait(browser, 60).until(lambda d: text(d, ".verdict") != "It does not fit")
    assert text(browser, ".verdict").startswith(("It fits", "At risk"))


def test_a_permalink_restores_the_whole_state(browser: webdriver.Chrome, server_url: str) -> None:
    request = {
        "model": {"kind": "catalog", "name": "gpt-2"},
        "workload": {"kind": "pretraining", "tokens": 1e9, "micro_batch_size": 4},
        "hardware": {"accelerator": "a100-sxm4-80gb", "count": 2},
        "site": {"region": "gcp/us-central1"},
    }
    go(browser, link(server_url, request))
    text(browser, ".verdict")
    values = {
        name: browser.find_element(By.ID, name).get_attribute("value")
        for name in ("model", "tokens", "micro_batch_size", "accelerator", "count", "region")
    }
    assert values == {
        "model": "gpt-2",
        "tokens": "1000000000",
        "micro_batch_size": "4",
        "accelerator": "a100-sxm4-80gb",
        "count": "2",
        "region": "gcp/us-central1",
    }
    assert json.loads(browser.execute_script("return decodeURIComponent(location.hash.slice(1))"))


def test_the_pareto_set_stands_in_the_chart_and_in_a_table(
    browser: webdriver.Chrome, server_url: str
) -> None:
    go(browser, server_url)
    text(browser, ".verdict")
    summaries = [one.text for one in browser.find_elements(By.TAG_NAME, "summary")]
    assert "The Pareto set as a table" in summaries
    legends = browser.find_elements(By.CSS_SELECTOR, ".legendtext")
    assert "Pareto set" in [one.text for one in legends]


def test_every_region_of_the_catalog_is_ranked(browser: webdriver.Chrome, server_url: str) -> None:
    go(browser, server_url)
    shown = WebDriverWait(browser, 30).until(
        lambda page: re.search(r"Emissions by region; (\d+) regions", page.page_source)
    )
    assert int(shown[1]) > 400


def test_an_error_names_the_field(browser: webdriver.Chrome, server_url: str) -> None:
    wrong = TOO_LARGE | {"hardware": {"accelerator": "h1000"}}
    go(browser, link(server_url, wrong))
    shown = text(browser, ".problem")
    assert "/hardware/accelerator" in shown
    assert "did you mean" in shown
    browser.get_log("browser")  # the 422 itself, which the browser logs


def test_the_form_works_by_keyboard_alone(browser: webdriver.Chrome, server_url: str) -> None:
    go(browser, server_url)
    text(browser, ".verdict")
    field = browser.find_element(By.ID, "model")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("gpt-2")
    field.send_keys(Keys.ENTER)
    WebDriverWait(browser, 60).until(lambda d: "124 million" in d.page_source)
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.tag_name in ("a", "input", "textarea", "button")


@pytest.mark.parametrize("path", ["/", "/catalog", "/record"])
def test_a_page_asks_nobody_else_and_logs_no_error(
    browser: webdriver.Chrome, server_url: str, path: str
) -> None:
    browser.get_log("browser")
    go(browser, server_url + path)
    WebDriverWait(browser, 60).until(
        lambda d: d.find_element(By.ID, "busy").text in ("",) or "facts" in d.page_source
    )
    text(browser, "h1")
    script = "return performance.getEntriesByType('resource').map((e) => e.name)"
    hosts = {urlsplit(name).netloc for name in browser.execute_script(script)}
    assert hosts <= {urlsplit(server_url).netloc, ""}
    assert [line["message"] for line in browser.get_log("browser")] == []


def test_dark_mode_and_a_phone_leave_nothing_outside_the_screen(
    server_url: str, tmp_path: Path
) -> None:
    driver = opened(500, 900, tmp_path / "profile", "--force-dark-mode")
    try:
        driver.get(server_url)
        text(driver, ".verdict")
        width = driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= driver.execute_script("return window.innerWidth")
        dark = driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
        ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        red = int(ground.split("(")[1].split(",")[0])
        assert dark == (red < 128)
    finally:
        driver.quit()


def test_smaller_models_are_compared_for_a_traffic(
    browser: webdriver.Chrome, server_url: str
) -> None:
    request = {
        "model": {"kind": "catalog", "name": "llama-3.1-70b"},
        "workload": {
            "kind": "inference",
            "prompt_tokens": 1000,
            "output_tokens": 300,
            "draft": {"tokens": 3, "acceptance": 0.7, "relative_cost": 0.1},
        },
        "hardware": {"accelerator": "h100-sxm"},
        "pricing": {"usd_per_device_hour": 2.5},
    }
    go(browser, link(server_url, request))
    text(browser, ".verdict")
    rate = browser.find_element(By.ID, "alternatives-rate")
    rate.clear()
    rate.send_keys("4", Keys.ENTER)
    found = "form.inner + div"
    WebDriverWait(browser, 60).until(
        lambda d: "llama-3.1-8b" in d.find_element(By.CSS_SELECTOR, found).text
    )
    shown = browser.find_element(By.CSS_SELECTOR, found).text
    assert "the model in use" in shown
    assert "What to measure next" in shown
    assert "published findings on quality" in shown
    assert "What would change the answer" in shown


def test_the_page_offers_every_task(browser: webdriver.Chrome, server_url: str) -> None:
    go(browser, link(server_url, TOO_LARGE | {"workload": {"kind": "inference"}}))
    text(browser, ".verdict")
    options = browser.find_elements(By.CSS_SELECTOR, "#alternatives-task option")
    assert {option.get_attribute("textContent") for option in options} == set(get_args(Task))
