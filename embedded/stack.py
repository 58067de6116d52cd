"""All servers of the demo and of the end-to-end tests, and the environment that leads Airflow to them."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded import mongo
from embedded.daemon import Daemon
from embedded.errors import EmbeddedError
from embedded.mongo import MongoServer
from embedded.postgres import SUPERUSER, PostgresServer, client_bin_dirs
from embedded.processes import LOOPBACK, load_json, locked, save_json
from embedded.s3 import S3Gateway
from embedded.slack import SlackReceiver

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_DIRECTORY = PROJECT / ".airflow" / "embedded"
SHOP_DATABASE = "shop"
BACKUP_ROLE = "backup"
PRIMARY_BUCKET = "playbook-backups"
REVIEWS_DATABASE = "reviews"
OFFSITE_BUCKET = "playbook-backups-offsite"
FILES_BUCKET = "playbook-files"
FILES_OFFSITE_BUCKET = "playbook-files-offsite"


@dataclass(frozen=True)
class PartStatus:
    name: str
    running: bool
    directory: Path


class Stack:
    """A shop, its uploads, a staging server, two S3 servers that play two regions, and Slack, below one directory.

    A MongoDB too, for sources and staging alike, where this machine has Java; in continuous integration it has to.
    Stacks in different directories run side by side. All methods raise EmbeddedError.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory).absolute()
        self.shop = PostgresServer(self.directory / "shop")
        self.staging = PostgresServer(self.directory / "staging")
        self.s3_primary = S3Gateway(self.directory / "s3-primary", region="us-east-1")
        self.s3_offsite = S3Gateway(self.directory / "s3-offsite", region="us-west-2")
        self.slack = SlackReceiver(self.directory / "slack")
        self.mongo = MongoServer(self.directory / "mongo")
        self.uploads, self.restores = self.directory / "uploads", self.directory / "restores"
        self.has_mongo = "CI" in os.environ or not mongo.missing()
        self._state_file = self.directory / "stack.json"

    @property
    def shop_dsn(self) -> str:
        """The shop's database, as its owner."""
        return self.shop.dsn(SHOP_DATABASE)

    @property
    def backup_password(self) -> str:
        try:
            return str(load_json(self._state_file)["backup_password"])
        except KeyError:
            raise EmbeddedError(
                f"The stack in {self.directory} was never started.", "Start it: python -m embedded up."
            ) from None

    def start(self) -> "Stack":
        """Starts what does not run, and makes databases, role and buckets that are missing."""
        with locked(self.directory):
            if not self._state_file.exists():
                save_json(self._state_file, {"backup_password": secrets.token_urlsafe(16)})
            for folder in (self.uploads, self.restores):
                folder.mkdir(exist_ok=True)
            others = [self.staging.start, self.slack.start, *([self.mongo.start] if self.has_mongo else [])]
            _at_once([self._start_shop, self._start_primary, self._start_offsite, *others])
        return self

    def stop(self) -> None:
        with locked(self.directory):
            _at_once([part.stop for part in self._parts().values()])

    def remove(self) -> None:
        """Stops the stack and removes all of its data."""
        self.stop()
        _at_once([self.shop.remove, self.staging.remove])
        shutil.rmtree(self.directory, ignore_errors=True)

    def status(self) -> list[PartStatus]:
        return [PartStatus(name, part.running, part.directory) for name, part in self._parts().items()]

    def environment(self) -> dict[str, str]:
        """What Airflow needs to work with this stack: its connections, and where the Postgres clients are."""
        connections = {
            "postgres_shop": self._postgres(self.shop, SHOP_DATABASE, BACKUP_ROLE, self.backup_password),
            "postgres_shop_admin": self._postgres(self.shop, SHOP_DATABASE, SUPERUSER, self.shop.password),
            "postgres_staging": self._postgres(self.staging, "postgres", SUPERUSER, self.staging.password),
            "s3_primary": self._s3(self.s3_primary),
            "s3_offsite": self._s3(self.s3_offsite),
            "slack_alerts": {"conn_type": "slackwebhook", "password": self.slack.webhook_url},
            "slack_critical": {"conn_type": "slackwebhook", "password": self.slack.critical_webhook_url},
        }
        if self.has_mongo:
            server = {"conn_type": "mongo", "host": LOOPBACK, "port": self.mongo.port}
            connections |= {"mongo_reviews": {**server, "schema": REVIEWS_DATABASE}, "mongo_staging": server}
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
        return {**variables, "BACKUP_PLAYBOOK_PG_CLIENTS": os.pathsep.join(map(str, client_bin_dirs()))}

    def shell_environment(self) -> dict[str, str]:
        """What people at a shell need besides: `aws s3 ls`, `psql "$SHOP_DSN"`. Not for Airflow, which has to find its
        way with connections alone."""
        return {**self.s3_primary.shell_environment(), "SHOP_DSN": self.shop_dsn}

    def reset_shop(self) -> None:
        """An empty shop database again."""
        self.shop.drop_database(SHOP_DATABASE)
        self.shop.create_database(SHOP_DATABASE)
        with self.shop.connect() as connection:
            connection.execute(f"GRANT CONNECT ON DATABASE {SHOP_DATABASE} TO {BACKUP_ROLE}")

    def _parts(self) -> dict[str, PostgresServer | Daemon]:
        return {
            "shop": self.shop,
            "staging": self.staging,
            "s3-primary": self.s3_primary,
            "s3-offsite": self.s3_offsite,
            "slack": self.slack,
            **({"mongo": self.mongo} if self.has_mongo else {}),
        }

    def _start_shop(self) -> None:
        self.shop.start()
        self.shop.create_database(SHOP_DATABASE)
        with self.shop.connect() as connection:
            exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [BACKUP_ROLE]).fetchone()
        if exists is None:
            self._create_backup_role()

    def _create_backup_role(self) -> None:
        """With the script for production, in one transaction: the role exists complete or not at all."""
        script = PROJECT / "include" / "sql" / "backup_role.sql"
        psql = [str(self.shop.bin_dir / "psql"), "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-d", SHOP_DATABASE]
        environment = {
            **os.environ,
            "PGHOST": LOOPBACK,
            "PGPORT": str(self.shop.port),
            "PGUSER": SUPERUSER,
            "PGPASSWORD": self.shop.password,
            "BACKUP_PASSWORD": self.backup_password,
        }
        result = subprocess.run([*psql, "-f", str(script)], env=environment, capture_output=True, text=True)
        if result.returncode != 0:
            raise EmbeddedError(f"{script} failed:\n{result.stderr.strip()}", "Correct the script.")

    def _start_primary(self) -> None:
        self.s3_primary.start().create_bucket(PRIMARY_BUCKET)
        self.s3_primary.create_bucket(FILES_BUCKET, versions=True)

    def _start_offsite(self) -> None:
        self.s3_offsite.start().create_bucket(OFFSITE_BUCKET)
        self.s3_offsite.create_bucket(FILES_OFFSITE_BUCKET, versions=True)

    @staticmethod
    def _postgres(server: PostgresServer, database: str, user: str, password: str) -> dict[str, Any]:
        address = {"host": LOOPBACK, "port": server.port, "schema": database}
        return {"conn_type": "postgres", **address, "login": user, "password": password}

    @staticmethod
    def _s3(gateway: S3Gateway) -> dict[str, Any]:
        extra = {"endpoint_url": gateway.endpoint_url, "region_name": gateway.region}
        return {"conn_type": "aws", "login": gateway.access_key, "password": gateway.secret_key, "extra": extra}


def _at_once(actions: Iterable[Callable[[], object]]) -> None:
    """Runs all of them to their end, then raises the first error."""
    with ThreadPoolExecutor() as executor:
        futures = [executor.submit(action) for action in actions]
    for future in futures:
        future.result()
