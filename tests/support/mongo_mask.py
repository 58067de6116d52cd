"""The embedded MongoDB with the face of a replica set of MongoDB 8: sessions, snapshots, options, UUIDs, users.

What the embedded server lacks is answered here, at the protocol's edge; everything else goes on to it. The commands
that arrive are kept, so that tests see what a real server would have been asked for.
"""

from __future__ import annotations

import socketserver
import struct
import uuid
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any, Self

import bson
from bson import CodecOptions, Timestamp
from bson.binary import Binary, UuidRepresentation
from bson.codec_options import DatetimeConversion
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from pymongo.errors import OperationFailure

Document = dict[str, Any]
SNAPSHOT = Timestamp(1_790_000_000, 7)
_RAW = CodecOptions(
    RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
_ANY_DATE: CodecOptions[Document] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_AUTO)
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_NOT_SENT_ON = ("lsid", "$clusterTime", "$db", "$readPreference", "readConcern", "txnNumber", "writeConcern",
                "bypassDocumentValidation", "startTransaction", "autocommit")  # fmt: skip
_MOST_BYTES = (16 << 20) + (16 << 10)
"""Of a statement: what a mongod takes inside a command, more than of a document."""
_WRITE_CONFLICT = 112


class ReplicaSet:
    """Use as a context manager. uri: where it answers. commands: all but hello, in the order in which they came.

    refuse: from a command to an error `(code, message)`, or None. stored: content of `database.collection` which the
    server behind cannot hold, as raw documents. answers: to commands that it does not know, by name.
    searchable: search indexes by `database.collection`; others are refused.
    standalone: has no members, and no transactions.
    """

    def __init__(self, upstream: str, *, standalone: bool = False) -> None:
        self.standalone = standalone
        self._client = MongoClient[RawBSONDocument](upstream, document_class=RawBSONDocument)
        self._lock = Lock()
        self._options: dict[str, Document] = {}
        self._uuids: dict[str, uuid.UUID] = {}
        self.commands: list[Document] = []
        self.refuse: Callable[[Document], tuple[int, str] | None] = lambda _: None
        self.stored: dict[str, list[RawBSONDocument]] = {}
        self.answers: dict[str, Document] = {}
        self.searchable: dict[str, list[Document]] = {}
        self._expiry: dict[tuple[str, str], int] = {}

    def __enter__(self) -> Self:
        mask = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                mask._serve(self.request)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def uri(self) -> str:
        return f"mongodb://{self.address}/" + ("" if self.standalone else "?replicaSet=rs0")

    def sent(self, name: str) -> list[Document]:
        """The commands of this name."""
        return [command for command in self.commands if next(iter(command)) == name]

    def _serve(self, connection: Any) -> None:
        with connection.makefile("rb") as incoming:
            while header := incoming.read(16):
                size, request, _, code = struct.unpack("<iiii", header)
                body = incoming.read(size - 16)
                if code == _OP_QUERY:
                    answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(self._hello())
                    reply = _OP_REPLY
                else:
                    answer = struct.pack("<iB", 0, 0) + bson.encode(self._answer(_command(body)))
                    reply = _OP_MSG
                connection.sendall(struct.pack("<iiii", len(answer) + 16, 1, request, reply) + answer)

    def _answer(self, command: Document) -> Document:
        name = next(iter(command))
        if name.lower() in ("hello", "ismaster"):
            return self._hello()
        with self._lock:
            self.commands.append(command)
        if refused := self.refuse(command):
            labels = {"errorLabels": ["TransientTransactionError"]} if refused[0] == _WRITE_CONFLICT else {}
            return {"ok": 0.0, "code": refused[0], "codeName": "Refused", "errmsg": refused[1], **labels}
        statements = [*command.get("updates", ()), *command.get("deletes", ())]
        if any(len(statement.raw) > _MOST_BYTES for statement in statements):
            return {"ok": 0.0, "code": 10334, "codeName": "BSONObjectTooLarge", "errmsg": "BSONObj size is invalid"}
        if name in self.answers:
            return self.answers[name]
        own = getattr(self, f"_{name}", self._pass_on)
        found: Document = own(command)
        return found

    def _hello(self) -> Document:
        members = {} if self.standalone else {"setName": "rs0", "hosts": [self.address], "me": self.address}
        return {
            "ismaster": True, "isWritablePrimary": True, "helloOk": True, **members, "maxBsonObjectSize": 1 << 24,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "logicalSessionTimeoutMinutes": 30,
            "minWireVersion": 0, "maxWireVersion": 25, "ok": 1.0,
        }  # fmt: skip

    def _pass_on(self, command: Document) -> Document:
        database = self._client[command["$db"]]
        try:
            passed_on = {key: value for key, value in command.items() if key not in _NOT_SENT_ON}
            return dict(database.command(passed_on, codec_options=_ANY_DATE))
        except OperationFailure as error:
            return {"ok": 0.0, "code": error.code or 1, "errmsg": str(error)}

    def _endSessions(self, _command: Document) -> Document:  # noqa: N802 - commands have these names
        return {"ok": 1.0}

    def _commitTransaction(self, _command: Document) -> Document:  # noqa: N802
        return {"ok": 1.0}

    _abortTransaction = _commitTransaction  # noqa: N815

    def _buildInfo(self, _command: Document) -> Document:  # noqa: N802
        return {"version": "8.0.4", "ok": 1.0}

    def _find(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['find']}"
        if namespace in self.stored:
            found = {"cursor": {"id": 0, "ns": namespace, "firstBatch": self.stored[namespace]}, "ok": 1.0}
        else:
            found = self._pass_on(command)
        if "cursor" in found and "readConcern" in command:
            found["cursor"] = {**found["cursor"], "atClusterTime": SNAPSHOT}
        return found

    def _insert(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['insert']}"
        command["documents"] = [_stamped(document) for document in command["documents"]]
        if namespace in self.stored:
            self.stored[namespace] += command["documents"]
            return {"n": len(command["documents"]), "ok": 1.0}
        return self._pass_on(command)

    def _aggregate(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['aggregate']}"
        if "$listSearchIndexes" not in next(iter(command["pipeline"]), {}):
            return self._pass_on(command)
        if namespace not in self.searchable:
            return {"ok": 0.0, "code": 31082, "errmsg": "Using Atlas Search requires additional configuration."}
        return {"cursor": {"id": 0, "ns": namespace, "firstBatch": self.searchable[namespace]}, "ok": 1.0}

    def _update(self, command: Document) -> Document:
        updates = [dict(statement) for statement in command["updates"]]
        for statement in updates:
            if isinstance(statement["u"], list):  # a pipeline, which the server behind does not know
                [stage] = statement["u"]
                statement["u"] = stage["$replaceWith"]["$literal"]
            elif not next(iter(statement["u"]), "").startswith("$"):
                statement["u"] = _stamped(statement["u"])
        return self._pass_on({**command, "updates": updates})

    def _create(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['create']}"
        known = ("create", *_NOT_SENT_ON)
        self._options[namespace] = {key: value for key, value in command.items() if key not in known}
        found = self._pass_on({"create": command["create"], "$db": command["$db"]})
        if "metaField" in (series := command.get("timeseries", {})):  # has an index by itself
            key = {series["metaField"]: 1, series["timeField"]: 1}
            index = {"key": key, "name": "_".join(f"{field}_1" for field in key)}
            self._pass_on({"createIndexes": command["create"], "indexes": [index], "$db": command["$db"]})
        return found

    def _renameCollection(self, command: Document) -> Document:  # noqa: N802
        found = self._pass_on(command)
        if found["ok"]:
            for known in (self._options, self._uuids):
                if command["renameCollection"] in known:
                    known[command["to"]] = known.pop(command["renameCollection"])
            moved = {command["renameCollection"]: command["to"]}
            self._expiry = {(moved.get(where, where), index): then for (where, index), then in self._expiry.items()}
        return found

    def _drop(self, command: Document) -> Document:
        namespace = f"{command['$db']}.{command['drop']}"
        for known in (self._options, self._uuids):
            known.pop(namespace, None)
        return self._pass_on(command)

    def _listIndexes(self, command: Document) -> Document:  # noqa: N802
        found = self._pass_on(command)
        if found["ok"]:
            namespace = f"{command['$db']}.{command['listIndexes']}"
            indexes = [dict(index) for index in found["cursor"]["firstBatch"]]
            for index in indexes:
                if (namespace, index["name"]) in self._expiry:
                    index["expireAfterSeconds"] = self._expiry[namespace, index["name"]]
            found["cursor"] = {**found["cursor"], "firstBatch": indexes}
        return found

    def _collStats(self, command: Document) -> Document:  # noqa: N802
        namespace = f"{command['$db']}.{command['collStats']}"
        size = sum(len(document.raw) for document in self.stored.get(namespace, ()))
        return {"size": size, "avgObjSize": 100, "count": 1, "ok": 1.0} if size else self._pass_on(command)

    def _collMod(self, command: Document) -> Document:  # noqa: N802
        if index := command.get("index"):
            namespace = f"{command['$db']}.{command['collMod']}"
            self._expiry[namespace, index["name"]] = index["expireAfterSeconds"]
        return {"ok": 1.0}

    def _listCollections(self, command: Document) -> Document:  # noqa: N802
        found = self._pass_on(command)
        items = [self._listed(command["$db"], item["name"]) for item in found["cursor"]["firstBatch"]]
        return {"cursor": {"id": 0, "ns": found["cursor"]["ns"], "firstBatch": items}, "ok": 1.0}

    def _listed(self, database: str, name: str) -> Document:
        namespace = f"{database}.{name}"
        options = self._options.get(namespace, {})
        kind = "view" if "viewOn" in options else "timeseries" if "timeseries" in options else "collection"
        with self._lock:
            number = self._uuids.setdefault(namespace, uuid.uuid4())
        info = {} if kind == "view" else {"uuid": Binary.from_uuid(number, UuidRepresentation.STANDARD)}
        return {"name": name, "type": kind, "options": options, "info": info}

    def _dropDatabase(self, command: Document) -> Document:  # noqa: N802
        gone = f"{command['$db']}."
        for known in (self._options, self._uuids, self.stored):
            for namespace in [namespace for namespace in known if namespace.startswith(gone)]:
                del known[namespace]
        return self._pass_on(command)


def _stamped(document: RawBSONDocument) -> RawBSONDocument:
    """As a server stores it: with the time in empty timestamps at its top."""
    if b"\x11" not in document.raw:
        return document
    fields = {
        name: SNAPSHOT if value == Timestamp(0, 0) and name != "_id" else value for name, value in document.items()
    }
    return document if dict(document) == fields else RawBSONDocument(bson.encode(fields), _RAW)


def _command(body: bytes) -> Document:
    """Of an OP_MSG: its document, with its sequences of documents in their places."""
    position, command = 4, {}
    (flags,) = struct.unpack_from("<I", body)
    end = len(body) - (4 if flags & 1 else 0)
    while position < end:
        kind, (size,) = body[position], struct.unpack_from("<i", body, position + 1)
        section = body[position + 1 : position + 1 + size]
        if kind == 0:
            command |= dict(bson.decode(section, _RAW))
        else:
            name, _, documents = section[4:].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents, _RAW)
        position += 1 + size
    return command
