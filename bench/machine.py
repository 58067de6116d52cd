"""What a result was measured on and with."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import psutil

from bench.stand import search_path
from embedded.binaries import RCLONE, VERSITYGW
from embedded.postgres import PostgresServer

_PACKAGES = {"Airflow": "apache-airflow", "boto3": "boto3", "aws-cli": "awscli", "zstandard": "zstandard"}


def describe(postgres: PostgresServer) -> dict[str, str]:
    with postgres.connect() as connection:
        row = connection.execute("SHOW server_version").fetchone()
    found = {
        "CPU": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "Linux": platform.release(),
        "Python": platform.python_version(),
        "Postgres": row[0] if row else "?",
        "versitygw": VERSITYGW.version,
        "rclone": RCLONE.version,
        "gzip": _first_line(["gzip", "--version"]).split()[-1],
    }
    return found | {name: importlib.metadata.version(package) for name, package in _PACKAGES.items()}


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _first_line(argv: list[str]) -> str:
    environment = {**os.environ, "PATH": search_path()}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()[0]
