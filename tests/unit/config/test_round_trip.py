"""Whatever the models accept, a file can say: dumped, it loads back as the same."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backup_playbook.config import (
    AirflowSettings,
    AlertRoutes,
    CommandCheck,
    CommandMaintenance,
    GpgPassphrase,
    GpgRecipients,
    HttpCall,
    HttpCheck,
    HttpMaintenance,
    Objectives,
    RecoverySettings,
    RepositorySettings,
    RestoreTest,
    RetentionSettings,
    Route,
    SqlCheck,
    Sweep,
    load_config,
)
from backup_playbook.config.alerts import AlertsFile
from backup_playbook.config.encryption import EncryptionFile
from backup_playbook.config.models import (
    RepositoriesFile,
    SourcesFile,
    TargetsFile,
)
from backup_playbook.config.mongodb import MongoRecovery, MongoRestoreTest, MongoSource, MongoTarget
from backup_playbook.config.policies import PoliciesFile
from backup_playbook.config.postgres import PostgresSource, PostgresTarget, SourceRecovery

names = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
connections = st.from_regex(r"[A-Za-z0-9_.-]{1,30}", fullmatch=True)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Z"]), min_size=1, max_size=20)
durations = st.builds(
    lambda count, unit: count * unit,
    st.integers(1, 99_999),
    st.sampled_from([timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)]),
)


def some(entries: st.SearchStrategy[object], keys: st.SearchStrategy[str] = names, least: int = 1) -> st.SearchStrategy:
    return st.dictionaries(keys, entries, min_size=least, max_size=3)


repositories = st.builds(
    RepositorySettings,
    connection=connections,
    bucket=st.from_regex(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", fullmatch=True),
    prefix=st.from_regex(r"[A-Za-z0-9_-]{1,9}(/[A-Za-z0-9_-]{1,9}){0,2}", fullmatch=True),
    region=st.none() | texts,
    conditional_writes=st.booleans(),
    checksums=st.booleans(),
    object_tags=st.booleans(),
)
policies = st.builds(
    PoliciesFile,
    retention=some(st.builds(RetentionSettings, daily=st.integers(0, 999), keep_newest=st.integers(1, 9))),
    objectives=some(
        st.builds(
            Objectives,
            rpo=durations,
            rto=durations,
            backed_up_within=durations,
            proven_within=durations,
            reread_within=durations,
        )
    ),
    sweep=st.builds(Sweep, grace=st.integers(1, 999).map(lambda hours: timedelta(hours=hours))),
    recovery=st.builds(RecoverySettings, approval_timeout=durations, unattended_drills=st.booleans()),
    airflow=st.builds(AirflowSettings, pool=texts),
)
targets = st.builds(
    TargetsFile,
    targets=some(
        st.builds(PostgresTarget, engine=st.just("postgres"), connection=connections)
        | st.builds(MongoTarget, engine=st.just("mongodb"), connection=connections)
    ),
)
programs = st.lists(texts, min_size=1, max_size=3).map(tuple)
sql_checks = st.builds(
    SqlCheck, check=st.just("sql"), name=texts, query=texts, expect=st.integers() | st.booleans() | st.text(max_size=9)
)
other_checks = st.builds(
    CommandCheck, check=st.just("command"), name=texts, command=programs, timeout=durations
) | st.builds(HttpCheck, check=st.just("http"), name=texts, connection=connections, status=st.integers(100, 599))
checks = {
    "postgres": st.lists(sql_checks | other_checks, max_size=3).map(tuple),
    "mongodb": st.lists(other_checks, max_size=3).map(tuple),
}
calls = st.builds(HttpCall, method=st.sampled_from(["GET", "PUT"]), path=texts, status=st.integers(100, 599))
maintenances = calls.map(
    lambda call: HttpMaintenance(by="http", connection="shop", switch_on=call, switch_off=call, is_on=call, is_off=call)
) | st.builds(CommandMaintenance, by=st.just("command"), switch_on=programs, switch_off=programs, timeout=durations)
recoveries = st.builds(SourceRecovery, connection=connections, maintenance=st.none() | maintenances)
mongo_recoveries = st.builds(MongoRecovery, connection=connections)
engines = st.sampled_from(
    [
        (
            "postgres",
            PostgresSource,
            RestoreTest,
            {
                "lock_timeout": durations,
                "role_passwords": st.sampled_from(["encrypted", "always", "never"]),
                "without_rows": st.lists(texts, max_size=2).map(tuple),
                "recovery": st.none() | recoveries,
            },
        ),
        (
            "mongodb",
            MongoSource,
            MongoRestoreTest,
            {"leave_out": st.lists(texts, max_size=2).map(tuple), "recovery": st.none() | mongo_recoveries},
        ),
    ]
)
sizes = st.builds("{}{}".format, st.integers(0, 999_999), st.sampled_from(["B", "kB", "MB", "GB", "TB"]))
encryptions = st.builds(
    EncryptionFile,
    encryption=some(
        st.builds(GpgPassphrase, method=st.just("gpg_passphrase"), connection=connections)
        | st.builds(
            GpgRecipients,
            method=st.just("gpg_recipients"),
            recipients=st.lists(texts, min_size=1, max_size=3).map(tuple),
            public_keys=st.just(Path(__file__)),
            private_key_connection=st.none() | connections,
        ),
        least=0,
    ),
)
routes = st.builds(Route, connection=connections, mention=st.none() | texts)
alerts = st.builds(
    AlertsFile,
    routes=st.builds(AlertRoutes, critical=routes, high=routes, medium=routes, info=st.none() | routes),
)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, object]:
    stores = draw(st.dictionaries(names, repositories, min_size=1, max_size=3).filter(_in_buckets_of_their_own))
    policy, encryption, places = draw(policies), draw(encryptions), draw(targets)
    sources = {}
    for number, name in enumerate(draw(st.lists(names, min_size=1, max_size=3, unique=True))):
        primary, *others = draw(st.permutations(sorted(stores)))
        engine, source, restore_test, more = draw(engines)
        fitting = [target for target, settings in places.targets.items() if settings.engine == engine]
        sources[name] = source(
            engine=engine,
            connection=draw(connections),
            database=f"{draw(texts)}{number}",
            repository=primary,
            offsite=tuple(others),
            encryption=draw(st.none() | st.sampled_from(sorted(encryption.encryption)))
            if encryption.encryption
            else None,
            retention=draw(st.sampled_from(sorted(policy.retention))),
            objectives=draw(st.sampled_from(sorted(policy.objectives))),
            streams=draw(st.integers(1, 16)),
            compression_level=draw(st.integers(-7, 19)),
            verification=draw(st.sampled_from(["full", "checksums"])),
            minimum_size=draw(sizes),
            restore_test=restore_test(target=draw(st.sampled_from(fitting)), checks=draw(checks[engine]))
            if fitting
            else None,
            **{key: draw(values) for key, values in more.items()},
        )
    return {
        "sources.yaml": SourcesFile(sources=sources),
        "repositories.yaml": RepositoriesFile(repositories=stores),
        "targets.yaml": places,
        "policies.yaml": policy,
        "encryption.yaml": encryption,
        "alerts.yaml": draw(alerts),
    }


def _in_buckets_of_their_own(stores: dict[str, RepositorySettings]) -> bool:
    return len({(store.connection, store.bucket) for store in stores.values()}) == len(stores)


# a whole configuration is much to make up, and how long that takes is a matter of what else the machine does
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(configurations())
def test_a_dumped_configuration_loads_back(files) -> None:  # type: ignore[no-untyped-def]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, model in files.items():
            (folder / file).write_text(yaml.safe_dump(model.model_dump(mode="json")), encoding="utf-8")
        config = load_config(folder)

    assert config.sources == files["sources.yaml"].sources
    assert config.repositories == files["repositories.yaml"].repositories
    assert config.targets == files["targets.yaml"].targets
    assert config.policies == files["policies.yaml"]
    assert config.encryption == files["encryption.yaml"].encryption
    assert config.alerts == files["alerts.yaml"].routes
