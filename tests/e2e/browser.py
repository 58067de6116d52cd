"""A headless browser, and what the tests do with the pages of Airflow's UI."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.ui import WebDriverWait

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SECONDS = 90


@contextmanager
def open_browser() -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("chromium and chromium-driver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",  # the sandbox needs more than root in a container has
        "--disable-dev-shm-usage",
        "--no-proxy-server",
        "--hide-scrollbars",
        "--window-size=1400,500",
        "--force-device-scale-factor=2",
    ):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def run_page(airflow_url: str, dag_id: str, run_id: str) -> str:
    return f"{airflow_url}/dags/{dag_id}/runs/{quote(run_id, safe='')}"


def click(browser: webdriver.Chrome, selector: str) -> None:
    WebDriverWait(browser, SECONDS).until(element_to_be_clickable((By.CSS_SELECTOR, selector))).click()


def texts(browser: webdriver.Chrome, selector: str) -> str:
    return "\n".join(element.text for element in browser.find_elements(By.CSS_SELECTOR, selector))


def wait_for_texts(browser: webdriver.Chrome, selector: str, words: list[str], *, press: str = "") -> None:
    """Wait until all words stand there. `press` is a button to press before each look."""

    def shows_all(browser: webdriver.Chrome) -> bool:
        if press:
            click(browser, press)
        return all(word in texts(browser, selector) for word in words)

    try:
        WebDriverWait(browser, SECONDS, ignored_exceptions=[Exception]).until(shows_all)
    except TimeoutException:
        pytest.fail(f"{selector} does not show all of {words}, but:\n{texts(browser, selector)}")


def show_graph(browser: webdriver.Chrome, page: str, steps: list[str], picture: str, *, grouped: bool = True) -> None:
    """Wait until a run's graph shows all steps, those in groups too. UPDATE_SCREENSHOTS=1 writes it to docs/images."""
    browser.get(page)
    click(browser, "[aria-label^='Show Graph']")
    if grouped:
        click(browser, "[data-testid='expand-all-button']")
    click(browser, "[aria-label='Collapse Details Panel']")
    # Nodes outside of the view are not in the page: what is laid out late may have to be brought into it.
    wait_for_texts(browser, ".react-flow__node", [*steps, "success"], press=".react-flow__controls-fitview")
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        take_picture(browser, IMAGES / picture)


def show_form(browser: webdriver.Chrome, airflow_url: str, dag_id: str, words: list[str]) -> None:
    """Open the form of a DAG, and wait for what stands on it."""
    set_page_size(browser, 1100, 2000)
    browser.get(f"{airflow_url}/dags/{dag_id}")
    click(browser, "[data-testid='trigger-dag-button']")
    wait_for_texts(browser, "[role='dialog']", words)
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        save(browser.find_element(By.CSS_SELECTOR, ".chakra-dialog__content"), IMAGES / f"{dag_id}_form.png")


def show_question(browser: webdriver.Chrome, page: str, dag_id: str, words: list[str]) -> None:
    """Open what a run asks of people, and wait for what it says."""
    set_page_size(browser, 1200, 900)
    browser.get(f"{page}/tasks/approve_plan/required_actions")
    wait_for_texts(browser, "main, #root", words)
    hidden = "return Math.max(...[...document.querySelectorAll('*')].map(one => one.scrollHeight - one.clientHeight))"
    set_page_size(browser, 1200, 900 + browser.execute_script(hidden))
    if os.environ.get("UPDATE_SCREENSHOTS") == "1":
        save(browser.find_element(By.CSS_SELECTOR, "body"), IMAGES / f"{dag_id}_approval.png")


def set_page_size(browser: webdriver.Chrome, width: int, height: int) -> None:
    """So that all of a page fits, in a picture that is not too large a file."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def take_picture(browser: webdriver.Chrome, file: Path) -> None:
    """The graph alone, without the controls that lie over it."""
    overlays = ".react-flow__panel, [aria-label='Show Details Panel']"
    style = f"<style>{overlays} {{display: none !important}}</style>"
    browser.execute_script("document.head.insertAdjacentHTML('beforeend', arguments[0])", style)
    save(browser.find_element(By.CSS_SELECTOR, ".react-flow"), file)


def save(element: WebElement, file: Path) -> None:
    """A picture of it, once it stands still."""

    def stands_still(_: WebElement) -> bool:
        return element.screenshot_as_png == element.screenshot_as_png

    WebDriverWait(element, SECONDS).until(stands_still)
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(element.screenshot_as_png)
