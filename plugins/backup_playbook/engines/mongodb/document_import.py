"""Import of found documents: shown first, written one by one as they were shown, read back, and undone.

No transaction: a server gives it a minute, and a standalone has none. Each write names what it expects to find, what
was written is taken back when a later write fails, and what undoes all of it is stored before the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection as DriverCollection
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from backup_playbook.core.compared_records import Compared, preview_of
from backup_playbook.core.errors import PlaybookError, RestoreError
from backup_playbook.core.masking import masked, shortened
from backup_playbook.core.row_recovery import OnConflict, Preview, RecoveredRows, RowRecoveryError, State
from backup_playbook.engines.mongodb.collections import WORDS, for_people
from backup_playbook.engines.mongodb.connection import MongoServer, explained
from backup_playbook.engines.mongodb.document_conflicts import unique_indexes
from backup_playbook.engines.mongodb.document_search import WantedDocuments, found_documents, raw
from backup_playbook.engines.mongodb.document_undo import UNDO_COMMAND, Written, take_back, undo_document
from backup_playbook.engines.mongodb.document_write import write_if_unchanged
from backup_playbook.engines.mongodb.exact import empty_again
from backup_playbook.engines.mongodb.scratch import MongoScratch

log = logging.getLogger(__name__)

_DocumentsOf = DriverCollection[RawBSONDocument]


@dataclass(frozen=True)
class Document(Compared):
    """A document of the backup beside production; `then` and `now` are BSON."""

    document: RawBSONDocument


def preview_documents(live: MongoServer, scratch: MongoScratch, wanted: WantedDocuments) -> Preview:
    """Preview an import; nothing is written. Raises RowRecoveryError, SourceError."""
    with live.connect() as database:
        return _preview(wanted, _compare(raw(database[wanted.collection]), found_documents(scratch, wanted)))


def import_documents(
    live: MongoServer,
    scratch: MongoScratch,
    wanted: WantedDocuments,
    seen: Preview,
    on_conflict: OnConflict,
    keep_undo: Callable[[bytes], str],
) -> RecoveredRows:
    """Write what `seen` shows. keep_undo: stores the undo, and returns where.

    Raises RowRecoveryError when production has changed since, or conflicts remain; RestoreError, SourceError. All
    written documents are then taken back.
    """
    with live.connect() as database:
        # a write that an election takes back was none
        collection = raw(database[wanted.collection]).with_options(write_concern=WriteConcern("majority"))
        compared = _compare(collection, found_documents(scratch, wanted))
        now = _preview(wanted, compared)
        now.require_clear(on_conflict)
        todo = [one for one in compared if one.is_written(on_conflict)]
        undo = ""
        if todo:
            if now.fingerprint != seen.fingerprint:
                raise _changed("since the preview: other documents would be written than were shown")
            undo = keep_undo(undo_document(live.database, wanted.collection, _written(todo)))
            _write(collection, todo, undo)
        inserted = sum(one.now is None for one in todo)
        return RecoveredRows(
            inserted={wanted.collection: inserted},
            overwritten={wanted.collection: len(todo) - inserted},
            sequences=(),
            finished_at=datetime.now(UTC),
            undo=undo,
        )


def remaining_documents(live: MongoServer, scratch: MongoScratch, wanted: WantedDocuments) -> dict[State, int]:
    """Count found documents by their present state in production."""
    return preview_documents(live, scratch, wanted).tables[0].counts


def _compare(live: _DocumentsOf, found: Sequence[RawBSONDocument]) -> list[Document]:
    uniques = unique_indexes(live)

    def look(document: RawBSONDocument) -> Document:
        now = live.find_one({"_id": {"$eq": document["_id"]}})
        same = now is not None and now.raw == document.raw
        taken = [] if same else [index.name for index in uniques if index.is_taken(live, document)]
        values = {name: value for name, value in document.items() if name != "_id"}
        return Document(
            key=shortened(for_people(document["_id"])),
            values=shortened(for_people(masked(values))),
            then=bytes(document.raw),
            now=None if now is None else bytes(now.raw),
            taken=taken,
            document=document,
        )

    return [look(document) for document in found]


def _preview(wanted: WantedDocuments, compared: Sequence[Document]) -> Preview:
    return preview_of(wanted.collection, compared, len(wanted.ids), WORDS)


def _written(todo: Sequence[Document]) -> list[Written]:
    return [Written(one.then, one.now) for one in todo]


def _write(live: _DocumentsOf, todo: Sequence[Document], undo: str) -> None:
    done: list[Document] = []
    try:
        with explained(f"The documents could not be written to {live.full_name}", RestoreError):
            for one in todo:
                done.append(one)  # before: a connection that breaks does not tell whether it was written
                _write_one(live, one)
            for one in todo:
                _require_read_back(live, one)
    except BaseException as failure:
        if isinstance(failure, RowRecoveryError):
            done.pop()  # what is there instead is somebody else's
        log.warning("Taking back what was written; should that fail too, this does it: %s", undo)
        _take_back(live, done, undo, failure)
        raise


def _take_back(live: _DocumentsOf, done: Sequence[Document], undo: str, failure: BaseException) -> None:
    """Raise RestoreError when documents stay written: then the failure's own words are not true."""
    try:
        take_back(live, _written(done)).require_all(live.full_name)
    except RestoreError as left:
        what = failure.what if isinstance(failure, PlaybookError) else f"The import ended early ({failure!r})."
        raise RestoreError(
            f"{what} PRODUCTION IS HALF RECOVERED: {left.what}",
            f"When the server answers again, run the undo that is kept at {undo}: MONGODB_URI=... {UNDO_COMMAND} FILE. "
            "It leaves what is as before, and what others have changed since. Then start this recovery again.",
        ) from failure


def _write_one(live: _DocumentsOf, one: Document) -> None:
    try:
        if one.now is None:
            live.insert_one(one.document)
            empty_again(live, [one.then])
        elif not write_if_unchanged(live, one.now, one.then):
            raise _changed(f"while documents were written: {one.key}")
    except DuplicateKeyError as error:
        raise _changed(f"while documents were written: {one.key}: {error.details}") from error


def _require_read_back(live: _DocumentsOf, one: Document) -> None:
    found: Any = live.find_one({"_id": {"$eq": one.document["_id"]}})
    if found is None or found.raw != one.then:
        raise RestoreError(
            f"{one.key} of {live.full_name} is not read back as it was written.",
            "What was written was taken back. Find out who changes it (an application, a trigger); then start again.",
        )


def _changed(how: str) -> RowRecoveryError:
    return RowRecoveryError(
        f"Production has changed {how}.", "Nothing stays written. Start this recovery again, and look at its preview."
    )
