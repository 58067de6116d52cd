"""Errors that a person reads at 3 in the morning: what happened, and what to do next."""

from __future__ import annotations


class PlaybookError(Exception):
    """Something that this project found wrong and can explain.

    `what` names the thing, the place and the reason; `remedy` starts with a verb and says what to do next.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\nWhat to do: {self.remedy}"


class ConfigError(PlaybookError):
    """The files in include/config are wrong; nothing was touched."""


class SourceError(PlaybookError):
    """The source (a database, a file tree) cannot be read completely and consistently."""


class RepositoryError(PlaybookError):
    """The object store refused, failed or holds something unexpected."""


class AlreadySealedError(RepositoryError):
    """Another run wrote the manifest of this backup id first."""


class EncryptionError(PlaybookError):
    """A key or passphrase is missing or wrong, or gpg failed."""


class GuardError(PlaybookError):
    """A target that is production, or not ours; nothing was touched."""


class RestoreError(PlaybookError):
    """A backup cannot be restored into this target, or the restore did not reach its end."""


class VerificationError(PlaybookError):
    """Stored bytes that differ from the manifest."""

    def __init__(self, what: str, remedy: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(what, remedy)
        self.problems = problems


class UnequalError(VerificationError):
    """A restored copy is not what the backup says, although what was read of the backup was right.

    It says nothing about the stored bytes: another server, another version or a fault of ours can be the cause.
    """


class ProcessFailedError(PlaybookError):
    """A program that we started (psql, pg_dump, gpg ...) failed; `stderr` holds its last lines."""

    def __init__(self, program: str, exit_code: int, stderr: str) -> None:
        how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"failed with exit code {exit_code}"
        super().__init__(
            f"{program} {how}: {stderr or '(it printed no error)'}",
            f"Read the last lines that {program} printed, above; the whole output is in this task's log.",
        )
        self.program = program
        self.exit_code = exit_code
        self.stderr = stderr


class CancelledError(PlaybookError):
    """Stopped on purpose: the task was ended, or another stream of the same backup failed first."""

    def __init__(self) -> None:
        super().__init__("The stream was stopped before its end.", "Look for the first error in this task's log.")
