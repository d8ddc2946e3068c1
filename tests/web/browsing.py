"""A headless Chromium for the tests of the pages."""

from __future__ import annotations

import shutil
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests import tools

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--force-prefers-reduced-motion",
)  # fmt: skip


def opened(width: int, height: int, folder: Path, *extra: str) -> webdriver.Chrome:
    """A new browser; the test is skipped where there is none."""
    if not (BROWSER and DRIVER):
        tools.lacking("browser", "no Chromium with its driver: the pages are not tested")
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, *extra, f"--window-size={width},{height}", f"--user-data-dir={folder}"):
        options.add_argument(flag)
    return webdriver.Chrome(options, Service(DRIVER))


def text(driver: webdriver.Chrome, selector: str) -> str:
    """The text of an element, once it is there and no work is going on."""

    def ready(found: webdriver.Chrome) -> str | None:
        busy = found.find_element(By.ID, "busy").text
        elements = found.find_elements(By.CSS_SELECTOR, selector)
        return elements[0].text if elements and "…" not in busy else None

    found = WebDriverWait(driver, 60).until(ready)
    assert isinstance(found, str)
    return found


def go(driver: webdriver.Chrome, address: str) -> None:
    """Open an address anew, even one that differs only behind the hash."""
    driver.get("about:blank")
    driver.get(address)
