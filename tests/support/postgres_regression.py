"""Postgres' own regression SQL, of Debian's source package; `python -m tests.support.postgres_regression` fetches it.

It is fetched by apt from where this machine's own sources point, with a configuration of its own: nothing is installed,
and the machine's lists stay as they are.
"""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from embedded.postgres import PostgresServer

PACKAGE = "postgresql-15"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backup-playbook" / f"{PACKAGE}-regress"
FETCH_SECONDS = 60
_LEFT_OUT = """
advisory_lock aggregates alter_generic amutils async bitmapops boolean brin_multi btree_index case char collate
collate.icu.utf8 collate.linux.utf8 combocid comments compression_pglz copydml create_function_sql
create_index_spgist database dbsize delete dependency drop_if_exists drop_operator encoding errors euc_kr explain
expressions float8 functional_deps groupingsets hash_func hash_part horology incremental_sort index_including_gist
indirect_toast infinite_recurse init_privs insert_conflict int2 int4 int8 join join_hash json_encoding
jsonb_jsonpath jsonpath jsonpath_encoding lock macaddr macaddr8 maintain_every memoize merge misc_functions
misc_sanity mvcc name namespace numerology object_address oid oidjoins opr_sanity partition_info partition_prune
password pg_lsn point portals portals_p2 prepare prepared_xacts psql psql_crosstab random regex regproc
replica_identity returning roleattributes sanity_check security_label select select_distinct select_distinct_on
select_having select_implicit select_parallel stats strings subscription sysviews tablespace text tid tidrangescan
tidscan transactions tsearch tsrf tstypes tuplesort txid type_sanity unicode updatable_views update uuid
vacuum_parallel varchar write_parallel xid
"""
LEFT_OUT = frozenset(_LEFT_OUT.split())
"""They leave nothing behind, or little for the time that they take."""
# as pg_regress sets them
_SESSION = {"PGTZ": "PST8PDT", "PGDATESTYLE": "Postgres, MDY", "PGOPTIONS": "-c intervalstyle=postgres_verbose"}


def regression_files() -> Path:
    """Where `sql`, `data` and the schedule are; fetched when they are not there yet. Raises OSError with the reason."""
    if not (CACHE / "parallel_schedule").exists():
        with tempfile.TemporaryDirectory(prefix="regression-") as directory:
            _unpack(_fetch(Path(directory)), Path(directory))
    return CACHE


def load_regression(server: PostgresServer, database: str, directory: Path) -> None:
    """Run them in the order of the schedule. Many statements are meant to fail; what they leave is what counts.

    directory: a copy of `regression_files()` that the server's own user can read.
    """
    environment = {
        **os.environ, **_SESSION, "PG_ABS_SRCDIR": str(directory), "PG_ABS_BUILDDIR": str(directory),
        "PG_LIBDIR": str(directory), "PG_DLSUFFIX": ".so",
    }  # fmt: skip
    psql = [server.bin_dir / "psql", "-X", "-q", "-o", os.devnull, "-d", server.dsn(database)]
    for name in _schedule(directory):
        subprocess.run(
            [*psql, "-f", directory / "sql" / f"{name}.sql"],
            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False, timeout=120,
        )  # fmt: skip


def _schedule(directory: Path) -> Iterator[str]:
    for line in (directory / "parallel_schedule").read_text().splitlines():
        if line.startswith("test:"):
            yield from (name for name in line.split()[1:] if name not in LEFT_OUT)


def _fetch(directory: Path) -> Path:
    """The original source, as apt-get checks and downloads it."""
    for name in ("etc", "lists/partial", "archives/partial"):
        (directory / name).mkdir(parents=True)
    (directory / "etc" / "source.sources").write_text("\n\n".join(_source_stanzas()))
    options = [
        f"Dir::Etc::sourceparts={directory / 'etc'}", "Dir::Etc::sourcelist=/dev/null",
        f"Dir::State::lists={directory / 'lists'}", f"Dir::Cache={directory}", "APT::Sandbox::User=root",
    ]  # fmt: skip
    words = [word for option in options for word in ("-o", option)]
    _run(["apt-get", *words, "update"], directory)
    found = _run(["apt-cache", *words, "showsrc", PACKAGE], directory)
    for version in reversed(re.findall(r"^Version: (\S+)$", found, re.MULTILINE)):
        try:
            _run(["apt-get", *words, "source", "--download-only", "--tar-only", f"{PACKAGE}={version}"], directory)
        except OSError as error:
            reason = error
            continue
        return next(directory.glob(f"{PACKAGE}_*.orig.tar.*"))
    raise OSError(f"no version of the source package can be downloaded: {reason}")


def _source_stanzas() -> Iterator[str]:
    """The machine's own sources of Debian, as sources of source packages."""
    for file in sorted(Path("/etc/apt").glob("sources.list.d/*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text()):
            if "debian-archive-keyring" in stanza:
                yield re.sub(r"^Types:.*$", "Types: deb-src", stanza, flags=re.MULTILINE)


def _run(argv: list[str], directory: Path) -> str:
    try:
        result = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False, timeout=FETCH_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise OSError(f"{argv[0]} took longer than {FETCH_SECONDS} s") from error
    if result.returncode != 0:
        raise OSError(f"{argv[0]} failed: {result.stderr.strip()[-500:]}")
    return result.stdout


def _unpack(source: Path, directory: Path) -> None:
    with tarfile.open(source) as archive:
        wanted = [
            item for item in archive if re.search(r"/src/test/regress/(sql|data)/|/parallel_schedule$", item.name)
        ]
        archive.extractall(directory, wanted, filter="data")
    [regress] = directory.glob("*/src/test/regress")
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(regress, CACHE, dirs_exist_ok=True)


if __name__ == "__main__":
    print(regression_files())
