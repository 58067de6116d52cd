"""A server process that listens on one port and keeps its files in one directory."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from embedded.errors import EmbeddedError
from embedded.processes import (
    LOOPBACK,
    ProcessId,
    choose_port,
    kill,
    last_lines,
    listens_on,
    load_json,
    load_process,
    locked,
    save_json,
    save_process,
    spawn,
    terminate,
    wait_until,
)

PORT_ATTEMPTS = 5


class Daemon(ABC):
    """Start, stop and kill of such a server. It outlives the process that started it; a second object for the same
    directory is the same server. Its port is chosen at the first start and kept as long as it is free.
    """

    name: ClassVar[str]
    start_seconds: ClassVar[float] = 30
    stop_seconds: ClassVar[float] = 10

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory).absolute()
        self.log = self.directory / f"{self.name}.log"
        self._process_file = self.directory / "process.json"
        self._state_file = self.directory / "server.json"

    @abstractmethod
    def command(self, port: int) -> Sequence[str]:
        """The server's arguments; it must listen on 127.0.0.1 and the port."""

    def environment(self) -> Mapping[str, str]:
        """Variables on top of ours; secrets go here, because arguments are visible to every user of the machine."""
        return {}

    def first_state(self) -> Mapping[str, str]:
        """What is drawn once and kept with the port, such as passwords."""
        return {}

    @property
    def port(self) -> int:
        return int(self.state("port"))

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        process = load_process(self._process_file)
        return process is not None and process.alive

    def state(self, key: str) -> str:
        try:
            return str(load_json(self._state_file)[key])
        except KeyError:
            raise EmbeddedError(
                f"The {self.name} in {self.directory} was never started.", "Call start() first."
            ) from None

    def start(self) -> Self:
        """Returns when the server accepts connections. A server that runs already is left alone."""
        with locked(self.directory):
            if not self.running:
                self.kill()  # children that survived their killed parent
                state = {**self.first_state(), **load_json(self._state_file)}
                save_json(self._state_file, state)
                save_json(self._state_file, {**state, "port": self._start_on_a_free_port(state.get("port"))})
        return self

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what has not ended. Does nothing when the server does not run."""
        with locked(self.directory):
            process = load_process(self._process_file)
            leader = process.process() if process else None
            if leader:
                terminate([leader], self.stop_seconds)
            self.kill()

    def kill(self) -> None:
        """SIGKILL for the server and its children, as a crashed machine would do."""
        process = load_process(self._process_file)
        if process:
            kill(process.session())

    def _start_on_a_free_port(self, preferred: int | None) -> int:
        for _ in range(PORT_ATTEMPTS):
            port = choose_port(preferred)
            self.log.unlink(missing_ok=True)
            child = spawn(self.command(port), {**os.environ, **self.environment()}, self.directory, self.log)
            process = ProcessId.of(child.pid)
            save_process(self._process_file, process)
            if self._wait_until_it_listens(process, port):
                return port
            kill(process.session())
            if "address already in use" not in last_lines(self.log, 100).lower():
                break
        raise EmbeddedError(
            f"The {self.name} in {self.directory} did not start. The end of its log:\n{last_lines(self.log)}",
            "Correct what the log names, or remove that directory to begin anew.",
        )

    def _wait_until_it_listens(self, process: ProcessId, port: int) -> bool:
        """False when it ended or took too long."""

        def listens() -> bool:
            return any(listens_on(member, port) for member in process.session())

        wait_until(lambda: not process.alive or listens(), self.start_seconds)
        return process.alive and listens()
