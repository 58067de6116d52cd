"""What the end-to-end tests share: one stack with some sources that fare differently, one Airflow, its runs."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Thread
from typing import Any

import yaml

from embedded.airflow import AirflowServer
from embedded.airflow_client import AirflowClient, Json
from embedded.s3 import S3Gateway
from embedded.sample import REVIEWS, configure, load_reviews_and_uploads
from embedded.stack import OFFSITE_BUCKET, PRIMARY_BUCKET, Stack
from include.sample import load
from include.sample.server import ShopServer

DAG_ID = "nightly_database_backup"
PASSPHRASE = "correct horse battery staple passphrase"
WRONG_PASSWORD = "the-wrong-password-of-locked-out"
RECIPIENT = "backup@example.com"
SHOP_SCALE = 0.002

# Beside `shop` and `uploads`, as in the demo; each is a database of that name. An off-site copy costs two tasks.
PLAIN = {"engine": "postgres", "repository": "primary", "retention": "standard", "objectives": "standard"}
SOURCES: Mapping[str, Mapping[str, Any]] = {
    "vault_sealed": PLAIN | {"connection": "postgres_shop", "encryption": "sealed"},
    "vault_open": PLAIN | {"connection": "postgres_shop", "encryption": "opened"},
    "vault_phrase": PLAIN
    | {"connection": "postgres_shop", "encryption": "phrase", "restore_test": {"target": "staging"}},
    "lost": PLAIN | {"connection": "postgres_shop", "offsite": ["offsite"]},
    "locked_out": PLAIN | {"connection": "postgres_locked_out"},
    "reviews": REVIEWS | {"minimum_size": "100MB"},
}
MAINTENANCE = {
    "by": "http",
    "connection": "shop_application",
    "switch_on": {"method": "PUT", "path": "/api/maintenance"},
    "is_on": {"path": "/api/maintenance", "contains": '"maintenance": true'},
    "switch_off": {"method": "DELETE", "path": "/api/maintenance"},
    "is_off": {"path": "/api/health"},
}
KEYS = {"method": "gpg_recipients", "recipients": [RECIPIENT], "public_keys": "public.asc"}
ENCRYPTION = {
    "sealed": KEYS | {"private_key_connection": "gpg_of_another_worker"},
    "opened": KEYS | {"private_key_connection": "gpg_private_key"},
    "phrase": {"method": "gpg_passphrase", "connection": "gpg_passphrase"},
}


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    client: AirflowClient
    run_id: str
    state: str
    messages: list[dict[str, Any]]
    """What Slack got meanwhile."""

    @cached_property
    def tasks(self) -> list[Json]:
        return self.client.task_instances(DAG_ID, self.run_id)

    def states(self, source: str) -> dict[str, str]:
        """By task id without its group."""
        index = self.sources.index(source)
        return {_step(task): task["state"] for task in self.tasks if task["map_index"] == index}

    @property
    def sources(self) -> list[str]:
        return list(self.client.xcom(DAG_ID, self.run_id, "list_sources"))

    def result(self, step: str, source: str) -> Any:
        return self.client.xcom(DAG_ID, self.run_id, _task_id(step), self.sources.index(source))

    def log(self, step: str, source: str | None = None, try_number: int = 1) -> str:
        index = -1 if source is None else self.sources.index(source)
        return self.client.log(DAG_ID, self.run_id, _task_id(step), index, try_number)

    def backup_id(self, source: str) -> str:
        return str(self.result("dump_compress_upload", source)["backup_id"])


class Playground:
    """stack and airflow run until stop()."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.stack = Stack(directory / "stack")
        self.config = directory / "config"
        self.gpg_home = directory / "gpg"

    def start(self) -> "Playground":
        self.stack.start()
        load(self.stack.shop_dsn, SHOP_SCALE)
        Thread(target=self.application.serve_forever, name="shop").start()
        load_reviews_and_uploads(self.stack)
        for name in SOURCES.keys() - {"lost", "reviews"}:
            self._create_database(name)
        self._make_keys()
        self._write_config()
        self.airflow.start()
        self.client.unpause(DAG_ID)
        self._create_locked_out_connection()
        return self

    def stop(self) -> None:
        self.airflow.stop()
        self.application.shutdown()
        self.application.server_close()
        self.stack.remove()

    @cached_property
    def application(self) -> ShopServer:
        """The shop, which serves its users all the time."""
        return ShopServer(self.stack.shop_dsn, port=0)

    @cached_property
    def airflow(self) -> AirflowServer:
        return AirflowServer(self.directory / "airflow", self.environment())

    @property
    def client(self) -> AirflowClient:
        return self.airflow.client

    def environment(self) -> dict[str, str]:
        environment = self.stack.environment()
        connections = {
            "gpg_private_key": {"conn_type": "generic", "password": self.private_key},
            "gpg_passphrase": {"conn_type": "generic", "password": PASSPHRASE},
            "shop_application": {
                "conn_type": "http",
                "host": "http://127.0.0.1",
                "port": self.application.server_port,
            },
        }
        variables = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(value) for name, value in connections.items()}
        return environment | variables | {"BACKUP_PLAYBOOK_CONFIG": str(self.config)}

    @property
    def private_key(self) -> str:
        return (self.gpg_home / "private.asc").read_text()

    def secrets(self) -> dict[str, str]:
        """All that must not appear anywhere, by name."""
        stack = self.stack
        return {
            "the backup role's password": stack.backup_password,
            "the shop server's password": stack.shop.password,
            "the staging server's password": stack.staging.password,
            "the primary store's secret key": stack.s3_primary.secret_key,
            "the off-site store's secret key": stack.s3_offsite.secret_key,
            "the webhook's token": stack.slack.token,
            "the passphrase": PASSPHRASE,
            "the wrong password": WRONG_PASSWORD,
            "the private key": self.private_key.splitlines()[3],
        }

    def trigger(self, **params: Any) -> str:
        return self.client.trigger(DAG_ID, params)

    def finish(self, run_id: str, messages_before: int) -> Run:
        state = self.client.wait_for_run(DAG_ID, run_id, seconds=300)
        return Run(self.client, run_id, state, self.stack.slack.messages()[messages_before:])

    def run(self, **params: Any) -> Run:
        before = len(self.stack.slack.messages())
        return self.finish(self.trigger(**params), before)

    def repair(self) -> None:
        """What an engineer does about `lost` and `locked_out`."""
        self._create_database("lost")
        self.client.request("PATCH", "/connections/postgres_locked_out", self._locked_out(self.stack.backup_password))

    def catalog(self, source: str, backup_id: str, *, offsite: bool = False) -> list[str]:
        """Names in the catalog's folder of a backup."""
        gateway, bucket = self.stack.s3_primary, PRIMARY_BUCKET
        if offsite:
            gateway, bucket = self.stack.s3_offsite, OFFSITE_BUCKET
        return list(self._documents(gateway, bucket, source, backup_id))

    def evidence(self, source: str, backup_id: str, prefix: str) -> dict[str, Any]:
        """The first of those whose name starts with the prefix: other tests verify and restore the same backup."""
        documents = self._documents(self.stack.s3_primary, PRIMARY_BUCKET, source, backup_id)
        name = min(name for name in documents if name.startswith(prefix))
        document: dict[str, Any] = json.loads(documents[name])
        return document

    @staticmethod
    def _documents(gateway: S3Gateway, bucket: str, source: str, backup_id: str) -> dict[str, str]:
        client, folder = gateway.client(), f"playbook/catalog/{source}/{backup_id}/"
        keys = [item["Key"] for item in client.list_objects_v2(Bucket=bucket, Prefix=folder).get("Contents", [])]
        return {
            key.removeprefix(folder): client.get_object(Bucket=bucket, Key=key)["Body"].read().decode() for key in keys
        }

    def _create_database(self, name: str) -> None:
        self.stack.shop.create_database(name)
        with self.stack.shop.connect(name) as connection:
            connection.execute("CREATE TABLE letters AS SELECT i, md5(i::text) AS body FROM generate_series(1, 99) i")

    def _make_keys(self) -> None:
        self.gpg_home.mkdir(mode=0o700)
        gpg = ["gpg", "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
        environment = {**os.environ, "GNUPGHOME": str(self.gpg_home)}
        for words in (
            ["--quick-generate-key", RECIPIENT, "default", "default", "never"],
            ["--armor", "--output", str(self.gpg_home / "public.asc"), "--export", RECIPIENT],
            ["--armor", "--output", str(self.gpg_home / "private.asc"), "--export-secret-keys", RECIPIENT],
        ):
            subprocess.run([*gpg, *words], env=environment, check=True, capture_output=True)
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=True)

    def _write_config(self) -> None:
        configure(self.stack, self.config)
        shutil.copy(self.gpg_home / "public.asc", self.config)
        sources = yaml.safe_load((self.config / "sources.yaml").read_text())
        sources["sources"] |= {name: {**settings, "database": name} for name, settings in SOURCES.items()}
        sources["sources"]["shop"]["recovery"]["maintenance"] = MAINTENANCE
        (self.config / "sources.yaml").write_text(yaml.safe_dump(sources, sort_keys=False))
        (self.config / "encryption.yaml").write_text(yaml.safe_dump({"encryption": ENCRYPTION}))

    def _create_locked_out_connection(self) -> None:
        """In Airflow's database, where it can be corrected while Airflow runs."""
        self.client.request("POST", "/connections", self._locked_out(WRONG_PASSWORD))

    def _locked_out(self, password: str) -> Json:
        like = json.loads(self.environment()["AIRFLOW_CONN_POSTGRES_SHOP"])
        return {"connection_id": "postgres_locked_out", **like, "password": password}


def _step(task: Json) -> str:
    return str(task["task_id"]).removeprefix("protect.")


def _task_id(step: str) -> str:
    return step if step in ("list_sources", "prune", "announce_result") else f"protect.{step}"
