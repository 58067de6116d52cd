"""All components of Airflow under one parent, as `airflow standalone` runs them, but started in half the time.

Importing Airflow takes seconds of a processor, and standalone pays that once per component. Here it is imported once,
and each component is a fork. The command line of each component is Airflow's own, and so is everything it does.

Runs as a script: `airflow_main.py PORT POOLS_JSON LOG_DIRECTORY`, settings in AIRFLOW_HOME/airflow.cfg. SIGTERM ends
all components; when one ends by itself, the others are ended too, and the end of its log is printed.
"""

import gc
import json
import os
import signal
import sys
import traceback
from collections import deque
from pathlib import Path
from types import FrameType

Children = dict[int, str]


def prepare_database(pools: dict[str, dict[str, str | int]]) -> None:
    from airflow.models.pool import Pool
    from airflow.utils import db

    db.initdb()
    for name, pool in pools.items():
        Pool.create_or_update_pool(name, int(pool["slots"]), str(pool["description"]), include_deferred=False)


def preload() -> None:
    """What the components would import one by one, most of it more than once."""
    import airflow.__main__
    import airflow.api_fastapi.core_api.app
    import airflow.api_fastapi.execution_api.app
    import airflow.cli.commands.api_server_command
    import airflow.cli.commands.dag_processor_command
    import airflow.cli.commands.scheduler_command
    import airflow.cli.commands.triggerer_command
    import airflow.executors.local_executor
    import airflow.jobs.dag_processor_job_runner
    import airflow.jobs.scheduler_job_runner
    import airflow.jobs.triggerer_job_runner  # noqa: F401

    gc.freeze()  # the collector would touch, and so copy, every page that the forks share


def start(component: list[str], log_directory: Path) -> int:
    """Forks `airflow COMPONENT...`, its output in a file of its own. Returns the pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        log = os.open(log_file(log_directory, component[0]), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = ["airflow", *component]
        from airflow.__main__ import main
        from setproctitle import setproctitle

        setproctitle(f"airflow {component[0]}")  # as it would be called in `ps` without the fork
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - a fork must not return into its parent's code, whatever happens
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def log_file(log_directory: Path, component: str) -> Path:
    return log_directory / f"{component}.log"


def supervise(children: Children, log_directory: Path) -> int:
    """Waits for the end of any component or for SIGTERM, then ends the others. 0 after SIGTERM."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        end_all(children)

    signal.signal(signal.SIGTERM, stop)
    failed = False
    while children:
        pid, status = os.wait()
        name = children.pop(pid, None)
        if name and not stopping and not failed:
            failed = True
            print(f"{name} ended with {os.waitstatus_to_exitcode(status)}. The end of its log:", flush=True)
            print_tail(log_file(log_directory, name))
            end_all(children)
    return 1 if failed else 0


def end_all(children: Children) -> None:
    for pid in children:
        os.kill(pid, signal.SIGTERM)


def print_tail(log: Path) -> None:
    with log.open(errors="replace") as lines:
        print("".join(deque(lines, 40)), flush=True)


def main() -> int:
    port, pools, log_directory = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    preload()
    prepare_database(pools)
    components = [
        ["api-server", "--host", "127.0.0.1", "--port", port],
        # Logs are read from the disk that all components share. The servers for logs would need two more ports.
        ["scheduler", "--skip-serve-logs"],
        ["triggerer", "--skip-serve-logs"],
        ["dag-processor"],
    ]
    children = {start(component, log_directory): component[0] for component in components}
    return supervise(children, log_directory)


if __name__ == "__main__":
    sys.exit(main())
