"""Several repositories at once, so that none of them has to be there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from botocore.config import Config

from backup_playbook.config import PlaybookConfig
from backup_playbook.connections import s3
from backup_playbook.core.errors import PlaybookError, RepositoryError
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.client import HURRIED

log = logging.getLogger(__name__)

T = TypeVar("T")


class Repositories:
    """The configured repositories, asked one after the other. One that has failed is not asked again.

    client: how patiently they are asked.
    """

    def __init__(self, config: PlaybookConfig, client: Config | None = HURRIED) -> None:
        self._config = config
        self._client = client
        self.failed: dict[str, PlaybookError] = {}

    def all(self, names: Sequence[str], act: Callable[[Catalog], T]) -> dict[str, T]:
        """Return what each one answers that does, in this order."""
        return dict(self._answers(names, act))

    def every(self, names: Sequence[str], act: Callable[[Catalog], T]) -> dict[str, T]:
        """Return what each one answers. Raises what those said that failed, when all have had their turn."""
        done = self.all(names, act)
        if failed := [name for name in names if name in self.failed]:
            raise self.error(failed)
        return done

    def first(self, names: Sequence[str], act: Callable[[Catalog], T]) -> tuple[str, T]:
        """Return the first one that does it, and its answer. Raises RepositoryError with what each of them said."""
        for answer in self._answers(names, act):
            return answer
        raise self.error(names)

    def error(self, names: Sequence[str]) -> PlaybookError:
        """Return the error that says why none of them did."""
        first, *others = (self.failed[name] for name in names)
        if not others:
            return first
        what = "; ".join(f"{name}: {self.failed[name].what.rstrip('.')}" for name in names)
        return RepositoryError(f"{what}.", " ".join(dict.fromkeys(self.failed[name].remedy for name in names)))

    def _answers(self, names: Sequence[str], act: Callable[[Catalog], T]) -> Iterator[tuple[str, T]]:
        for name in names:
            if name in self.failed:
                continue
            try:
                answer = act(s3.catalog(self._config, name, self._client))
            except PlaybookError as error:
                log.warning("The repository %s did not answer as it should: %s", name, error.what)
                self.failed[name] = error
            else:
                yield name, answer
