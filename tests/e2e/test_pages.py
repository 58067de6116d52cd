"""The pages that people see, in a browser. UPDATE_SCREENSHOTS=1 writes the README's picture."""

from selenium import webdriver

from tests.e2e.browser import click, run_page, show_graph, wait_for_texts
from tests.e2e.playground import DAG_ID, Playground, Run

STEPS = ["list_sources", "dump_compress_upload", "verify", "copy_offsite", "verify_offsite", "prune", "announce_result"]


def test_graph_shows_every_step(browser: webdriver.Chrome, playground: Playground, good_night: Run) -> None:
    page = run_page(playground.airflow.url, DAG_ID, good_night.run_id)
    show_graph(browser, page, STEPS, f"{DAG_ID}.png")


def test_grid_names_the_sources(browser: webdriver.Chrome, playground: Playground, rough_night: Run) -> None:
    browser.set_window_size(1400, 1400)  # the table is below what Airflow says of the run and its deadline
    browser.get(run_page(playground.airflow.url, DAG_ID, rough_night.run_id))
    wait_for_texts(browser, "table", [*rough_night.sources, "protect.verify_offsite", "Failed"])


def test_page_of_the_dag_explains_it(browser: webdriver.Chrome, playground: Playground) -> None:
    browser.get(f"{playground.airflow.url}/dags/{DAG_ID}")
    click(browser, "[data-testid='markdown-button']")
    wait_for_texts(browser, "[role='dialog']", ["Nightly database backup", "When it fails:"])


def test_form_has_titles(browser: webdriver.Chrome, playground: Playground) -> None:
    browser.get(f"{playground.airflow.url}/dags/{DAG_ID}")
    click(browser, "[data-testid='trigger-dag-button']")
    wait_for_texts(browser, "[role='dialog']", ["Sources", "Hold", "Reason", "Prune: dry run"])
