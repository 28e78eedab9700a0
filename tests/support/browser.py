"""Opens reports in a headless Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


def in_a_browser(test):
    """Mark a test that uses `open_report`. The test is skipped if no browser exists. `pytest -m "not browser"` deselects it."""
    missing = not (CHROMIUM and DRIVER)
    for mark in (
        pytest.mark.browser,
        pytest.mark.skipif(missing, reason="no chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"),
        pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    ):
        test = mark(test)
    return test


@contextmanager
def open_report(page: Path, folder: Path) -> Iterator:
    """Yield a Selenium driver after `page` is loaded and its charts are drawn. `folder` holds its profile and `driver.downloads`."""
    from selenium import webdriver
    from selenium.webdriver.support.ui import WebDriverWait

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
                 "--window-size=1280,1000", f"--user-data-dir={folder / 'profile'}"):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        driver.get(page.as_uri())
        WebDriverWait(driver, 60).until(lambda driver: driver.execute_script("return document.documentElement.dataset.drawn") == "yes")
        driver.downloads = folder / "downloads"
        yield driver
    finally:
        driver.quit()
