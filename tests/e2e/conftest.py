"""One stack, one Airflow and three nights for all end-to-end tests: each of them looks at what these left behind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from selenium import webdriver

from embedded.processes import load_process, wait_until
from tests.e2e.browser import open_browser
from tests.e2e.command_lines import CommandLines
from tests.e2e.playground import SOURCES, Playground, Run

FILE_DAG_ID = "nightly_file_backup"
REASON = "before the upgrade of <shop> & co"


@pytest.hookimpl(tryfirst=True)  # before xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks here instead of in each module: what shares an Airflow runs on one worker, and nights take their time."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)
            shared = "playground" in getattr(item, "fixturenames", ())
            item.add_marker(pytest.mark.xdist_group("playground" if shared else item.path.stem))
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    """A fresh one for each test: the pages remember which of their panels were open."""
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def playground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    playground = Playground(tmp_path_factory.mktemp("playground"))
    try:
        yield playground.start()
    finally:
        playground.stop()


@pytest.fixture(scope="session")
def command_lines(playground: Playground) -> Iterator[CommandLines]:
    """Of everything that ran during the nights."""
    with CommandLines() as command_lines:
        yield command_lines


@pytest.fixture(scope="session")
def good_night(playground: Playground, command_lines: CommandLines) -> Run:
    """The demo's source alone."""
    return playground.run(sources=["shop"])


@pytest.fixture(scope="session")
def rough_night(good_night: Run, playground: Playground) -> Run:
    """All sources, to be held, nothing to be removed. One database does not exist, one password is wrong,
    and the process that backs up `shop` is killed while it waits for a lock."""
    before = len(playground.stack.slack.messages())
    with playground.stack.shop.connect("shop") as blocker, blocker.transaction():
        blocker.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        run_id = playground.trigger(sources=["shop", *SOURCES], hold=True, reason=REASON, dry_run=True)
        kill_the_task_that_waits_for_a_lock(playground)
    return playground.finish(run_id, before)


@pytest.fixture(scope="session")
def next_night(rough_night: Run, playground: Playground) -> Run:
    """The causes are gone, and Slack is down."""
    playground.repair()
    with playground.stack.slack.failing(500):
        return playground.run(sources=["lost", "locked_out"])


@pytest.fixture(scope="session")
def file_night(playground: Playground) -> str:
    """The id of a run that has backed up the uploads."""
    client = playground.client
    client.unpause(FILE_DAG_ID)
    run_id = client.trigger(FILE_DAG_ID)
    assert client.wait_for_run(FILE_DAG_ID, run_id, seconds=300) == "success"
    return run_id


def kill_the_task_that_waits_for_a_lock(playground: Playground) -> None:
    """SIGKILL for the process whose connection to the shop waits: no other one is that of the task."""

    def waiting() -> list[int]:
        with playground.stack.shop.connect() as connection:
            rows = connection.execute(
                "SELECT client_port FROM pg_stat_activity WHERE datname = 'shop' AND wait_event_type = 'Lock'"
            )
            return [row[0] for row in rows]

    kill_the_task_behind(playground, waiting, 300)


def kill_the_task_behind(playground: Playground, ports: Callable[[], list[int]], seconds: float) -> None:
    """SIGKILL for the process of Airflow's that talks to a server from one of these ports; some live for a moment."""
    airflow = load_process(playground.airflow.directory / "process.json")
    assert airflow

    def killed() -> bool:
        found = set(ports())
        holders = [process for process in airflow.session() if found and ports_of(process) & found]
        if len(holders) != 1:
            return False
        try:
            holders[0].send_signal(psutil.signal.SIGKILL)
        except psutil.NoSuchProcess:  # a task before it, whose connection was its last
            return False
        return True

    assert wait_until(killed, seconds, 0.05)


def ports_of(process: psutil.Process) -> set[int]:
    """Of its connections; none when it ended meanwhile."""
    try:
        return {connection.laddr.port for connection in process.net_connections("tcp")}
    except psutil.NoSuchProcess:
        return set()
