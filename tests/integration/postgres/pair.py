"""A live database and a copy that can take its place."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backup_playbook.engines.postgres.connection import identity
from backup_playbook.engines.postgres.promotion import Promotion
from backup_playbook.engines.postgres.swap import Swap
from embedded.postgres import PostgresServer
from tests.integration.postgres.lab import server_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROPERTIES = """
SELECT pg_get_userbyid(datdba), datconnlimit, datallowconn, shobj_description(oid, 'pg_database'),
  ARRAY(SELECT format('%%s %%s %%s %%s', coalesce(r.rolname, 'PUBLIC'), a.privilege_type, a.is_grantable,
                      a.grantor::regrole)
        FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) a LEFT JOIN pg_roles r ON r.oid = a.grantee
        ORDER BY 1),
  ARRAY(SELECT format('%%s %%s', setrole::regrole, setconfig) FROM pg_db_role_setting WHERE setdatabase = d.oid
        ORDER BY 1)
FROM pg_database d WHERE datname = %s
"""


@dataclass(frozen=True)
class Pair:
    """A live database with the note `old`, and a copy with the note `new`."""

    server: PostgresServer
    live: str
    candidate: str
    quarantine: str

    def promotion(self, **options: Any) -> Promotion:
        with self.server.connect() as session:
            live, candidate = identity(session, self.live), identity(session, self.candidate)
        assert live
        assert candidate
        swap = Swap(self.live, live.database_oid, self.candidate, candidate.database_oid, self.quarantine)
        return Promotion(server_of(self.server.dsn()), swap, "shop", "a run", NOW, **options)

    def note(self, database: str = "") -> str:
        with self.server.connect(database or self.live) as session:
            return str(session.execute("SELECT v FROM notes").fetchall()[0][0])

    def properties(self, database: str = "") -> Any:
        with self.server.connect() as session:
            return session.execute(PROPERTIES, [database or self.live]).fetchone()
