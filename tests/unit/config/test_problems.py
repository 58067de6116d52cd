"""Wrong configurations, and the words that a person reads about them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.unit.config.conftest import edit, problems


class Wrong(NamedTuple):
    file: str
    old: str
    new: str
    problem: str
    lines: tuple[str, str] | None = None
    """Texts of the lines whose numbers are {first} and {line} in the problem."""


SHOP = "sources.yaml: sources.shop"
DURATION_ADVICE = "Write a duration as a number and its unit, such as 30s, 15m, 24h or 7d."
PREFIX_ADVICE = (
    "Write a key prefix without slashes at its ends, such as 'playbook' or 'team/playbook' (letters, digits, '_', '.', "
    "'-'; no part starts with a dot). Nothing outside of it is ever deleted."
)

WRONG = {
    "unknown key, a slip": Wrong(
        "sources.yaml",
        "streams:",
        "steams:",
        f"{SHOP}.steams: Write 'streams', or remove the line. There is no key 'steams'.",
    ),
    "unknown key": Wrong(
        "policies.yaml",
        "rto:",
        "xyz: 1\n    rto:",
        "policies.yaml: objectives.standard.xyz: Remove it; the keys here are: rpo, rto, backed_up_within, "
        "proven_within, reread_within. There is no key 'xyz'.",
    ),
    "unknown key at the top": Wrong(
        "policies.yaml",
        "airflow:",
        "airflows:",
        "policies.yaml: airflows: Write 'airflow', or remove the line. There is no key 'airflows'.",
    ),
    "missing key": Wrong("sources.yaml", "connection:", "#", f"{SHOP}.connection: Add this key; it is required."),
    "missing reference": Wrong(
        "sources.yaml",
        "retention: standard",
        "retention: standrad",
        f"{SHOP}.retention: Name one of: standard. There is no retention policy 'standrad'.",
    ),
    "missing target": Wrong(
        "sources.yaml",
        "target: staging",
        "target: stagin",
        f"{SHOP}.restore_test.target: Name one of: staging, restores. There is no target 'stagin'.",
    ),
    "a size without its unit": Wrong(
        "sources.yaml",
        "minimum_size: 1MB",
        "minimum_size: 100",
        f"{SHOP}.minimum_size: Write a size as a number and its unit, such as 500kB, 100MB or 20GB.",
    ),
    "an unknown kind of check": Wrong(
        "sources.yaml",
        "check: sql",
        "check: sqll",
        f"{SHOP}.restore_test.checks.0: Name one of: sql, command, http. There is no choice 'sqll'.",
    ),
    "a check of another kind": Wrong(
        "sources.yaml",
        "          expect: 0",
        "          exepct: 0",
        f"{SHOP}.restore_test.checks.0.expect: Add this key; it is required.",
    ),
    "missing repository, nearest first": Wrong(
        "sources.yaml",
        "repository: primary",
        "repository: primery",
        f"{SHOP}.repository: Name one of: primary, files, files_offsite, offsite. There is no repository 'primery'.",
    ),
    "missing off-site repository": Wrong(
        "sources.yaml",
        "[offsite]",
        "[elsewhere]",
        f"{SHOP}.offsite: Name one of: files, files_offsite, offsite, primary. There is no repository 'elsewhere'.",
    ),
    "encryption that is not defined": Wrong(
        "sources.yaml",
        "encryption: null",
        "encryption: team",
        f"{SHOP}.encryption: Add 'team' to encryption.yaml. It defines nothing under 'encryption'.",
    ),
    "wrong choice": Wrong(
        "sources.yaml",
        "verification: full",
        "verification: ful",
        f"{SHOP}.verification: Name one of: full, checksums. There is no choice 'ful'.",
    ),
    "unknown engine": Wrong(
        "sources.yaml",
        "engine: postgres",
        "engine: oracle",
        f"{SHOP}: Name one of: files, mongodb, postgres. There is no choice 'oracle'.",
    ),
    "a check that the engine does not know": Wrong(
        "sources.yaml",
        "engine: postgres",
        "engine: mongodb",
        f"{SHOP}.restore_test.checks.0: Name one of: command, http. There is no choice 'sql'.",
    ),
    "a key of another engine": Wrong(
        "sources.yaml",
        "engine: postgres",
        "engine: mongodb",
        f"{SHOP}.lock_timeout: Remove it; the keys here are: repository, offsite, encryption, retention, "
        "objectives, streams, compression_level, verification, minimum_size, database, engine, connection, leave_out, "
        "restore_test, recovery. There is no key 'lock_timeout'.",
    ),
    "a target of another engine": Wrong(
        "targets.yaml",
        "engine: postgres",
        "engine: mongodb",
        f"{SHOP}.restore_test.target: Name a target whose engine is postgres. 'staging' is a server of mongodb.",
    ),
    "too few": Wrong("sources.yaml", "streams: 2", "streams: 0", f"{SHOP}.streams: Write at least 1, not 0."),
    "too many": Wrong(
        "sources.yaml",
        "compression_level: 1",
        "compression_level: 22",
        f"{SHOP}.compression_level: Write at most 19, not 22.",
    ),
    "a number in quotes": Wrong(
        "sources.yaml",
        "streams: 2",
        'streams: "2"',
        f"{SHOP}.streams: Write a whole number (without quotes), not '2'.",
    ),
    "true is not one": Wrong(
        "sources.yaml",
        "streams: 2",
        "streams: true",
        f"{SHOP}.streams: Write a whole number (without quotes), not true.",
    ),
    "a switch in quotes": Wrong(
        "repositories.yaml",
        "checksums: true",
        'checksums: "no"',
        "repositories.yaml: repositories.primary.checksums: Write true or false (without quotes), not 'no'.",
    ),
    "a list is needed": Wrong(
        "sources.yaml", "[offsite]", "offsite", f"{SHOP}.offsite: Write a list, such as [a, b], not 'offsite'."
    ),
    "a list that was left empty": Wrong(
        "sources.yaml", "[offsite]", "", f"{SHOP}.offsite: Write a list, such as [a, b], not nothing."
    ),
    "a place in a list": Wrong("sources.yaml", "[offsite]", "[7]", f"{SHOP}.offsite.0: Write text (in quotes), not 7."),
    "a mapping is needed": Wrong(
        "alerts.yaml",
        "  medium:                            # something looks unusual\n    connection: slack_alerts",
        "  medium: slack_alerts",
        "alerts.yaml: routes.medium: Write indented `key: value` lines, not 'slack_alerts'.",
    ),
    "YAML's no": Wrong(
        "sources.yaml",
        "    engine:",
        "    database: no\n    engine:",
        f"{SHOP}.database: Write text (in quotes), not false.",
    ),
    "a source's name": Wrong(
        "sources.yaml",
        "  shop:",
        "  Shop DB:",
        "sources.yaml: sources.Shop DB: Use lower-case letters, digits, '-' and '_' only, 63 at most, the first one a "
        "letter or digit: names become parts of S3 keys.",
    ),
    "a name that YAML takes for a number": Wrong(
        "sources.yaml", "  shop:", "  1:", "sources.yaml: sources.1: Write text (in quotes), not 1."
    ),
    "a key that YAML takes for a switch": Wrong(
        "sources.yaml",
        "    engine:",
        "    on: 1\n    engine:",
        f"{SHOP}: Put the key in quotes. YAML reads it as true, not as text.",
    ),
    "a duration without unit": Wrong(
        "policies.yaml",
        "rpo: 24h",
        "rpo: 24",
        "policies.yaml: objectives.standard.rpo: " + DURATION_ADVICE,
    ),
    "no duration": Wrong(
        "policies.yaml",
        "rto: 30m",
        "rto: 0m",
        "policies.yaml: objectives.standard.rto: " + DURATION_ADVICE,
    ),
    "a grace that would remove running backups": Wrong(
        "policies.yaml",
        "grace: 24h",
        "grace: 5m",
        "policies.yaml: sweep.grace: Write at least 1h. Until its manifest is written, a running backup looks like a "
        "failed one.",
    ),
    "no floor": Wrong(
        "policies.yaml",
        "keep_newest: 3",
        "keep_newest: 0",
        "policies.yaml: retention.standard.keep_newest: Write at least 1, not 0.",
    ),
    "slashes around a prefix": Wrong(
        "repositories.yaml",
        "prefix: playbook",
        "prefix: /playbook/",
        "repositories.yaml: repositories.primary.prefix: " + PREFIX_ADVICE,
    ),
    "a prefix that climbs": Wrong(
        "repositories.yaml",
        "prefix: playbook",
        "prefix: a/../b",
        "repositories.yaml: repositories.primary.prefix: " + PREFIX_ADVICE,
    ),
    "a bucket's address": Wrong(
        "repositories.yaml",
        "bucket: playbook-backups",
        "bucket: s3://playbook-backups",
        "repositories.yaml: repositories.primary.bucket: Write the bucket's name alone: 3 to 63 lower-case letters, "
        "digits, '.' and '-', without s3:// and slashes.",
    ),
    "a class that takes hours to read": Wrong(
        "repositories.yaml",
        "storage_class: STANDARD",
        "storage_class: DEEP_ARCHIVE",
        "repositories.yaml: repositories.primary.storage_class: Use a class that can be read at once: verification "
        "reads every new backup back. Move old backups to GLACIER by a lifecycle rule on the tag 'backup-tier'.",
    ),
    "off-site is primary": Wrong(
        "sources.yaml",
        "[offsite]",
        "[primary]",
        f"{SHOP}.offsite: Name another repository. 'primary' is the one that the backups are written to.",
    ),
    "off-site in the same bucket": Wrong(
        "repositories.yaml",
        "connection: s3_offsite\n    bucket: playbook-backups-offsite\n    prefix: playbook",
        "connection: s3_primary\n    bucket: playbook-backups\n    prefix: copies",
        f"{SHOP}.offsite: Name a repository in another bucket. 'offsite' is in the bucket of 'primary', and would be "
        "lost with it.",
    ),
    "off-site twice": Wrong(
        "sources.yaml", "[offsite]", "[offsite, offsite]", f"{SHOP}.offsite: Name 'offsite' once. It is there 2 times."
    ),
    "two names for one place": Wrong(
        "repositories.yaml",
        "repositories:",
        "repositories:\n  again: {connection: s3_primary, bucket: playbook-backups}",
        "repositories.yaml: repositories.primary: Give it a bucket or a prefix of its own. Repository 'again' is the "
        "same place.",
    ),
    "two names for one database": Wrong(
        "sources.yaml",
        "sources:",
        "sources:\n  again: {engine: postgres, connection: postgres_shop, repository: primary, retention: standard, "
        "objectives: standard}",
        "sources.yaml: sources.shop: Remove one of the two, or set `database`. Source 'again' is the same database.",
    ),
    "no recipients": Wrong(
        "encryption.yaml",
        "encryption: {}",
        "encryption: {t: {method: gpg_recipients, recipients: [], public_keys: alerts.yaml}}",
        "encryption.yaml: encryption.t.recipients: Add entries: at least 1 is needed here.",
    ),
    "no key file": Wrong(
        "encryption.yaml",
        "encryption: {}",
        "encryption: {t: {method: gpg_recipients, recipients: [a], public_keys: keys/t.asc}}",
        "encryption.yaml: encryption.t.public_keys: Put the file there: {folder}/keys/t.asc does not exist. Paths are "
        "relative to the configuration folder.",
    ),
    "unknown method": Wrong(
        "encryption.yaml",
        "encryption: {}",
        "encryption: {t: {method: gpg_passfrase, connection: c}}",
        "encryption.yaml: encryption.t: Name one of: gpg_passphrase, gpg_recipients. "
        "There is no choice 'gpg_passfrase'.",
    ),
    "no method": Wrong(
        "encryption.yaml",
        "encryption: {}",
        "encryption: {t: {connection: c}}",
        "encryption.yaml: encryption.t: Add the key 'method'; it is required.",
    ),
    "no source": Wrong(
        "sources.yaml",
        "sources:",
        "sources: {}\nx-unused:",
        "sources.yaml: sources: Add entries: at least 1 is needed here.",
    ),
    "a key twice": Wrong(
        "policies.yaml",
        "    weekly: 12",
        "    daily: 90\n    weekly: 12",
        "policies.yaml: line {line}: Remove one of the two. The key 'daily' is already in line {first}.",
        lines=("daily: 30", "daily: 90"),
    ),
    "broken YAML": Wrong(
        "alerts.yaml",
        "routes:",
        "routes: [",
        "alerts.yaml: line {line}: Correct the YAML: did not find expected ',' or ']' "
        "(in what starts in line {first}).",
        lines=("routes: [", "connection: slack_critical"),
    ),
}


def _line_of(text: list[str], part: str) -> int:
    return next(number for number, line in enumerate(text, start=1) if part in line)


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_explained(folder: Path, case: str) -> None:
    wrong = WRONG[case]
    edit(folder, wrong.file, wrong.old, wrong.new)
    places: dict[str, object] = {"folder": folder}
    if wrong.lines:
        text = (folder / wrong.file).read_text(encoding="utf-8").splitlines()
        places["first"], places["line"] = (_line_of(text, key) for key in wrong.lines)
    assert wrong.problem.format(**places) in problems(folder)


def test_all_problems_of_all_files_are_reported_at_once(folder: Path) -> None:
    edit(folder, "sources.yaml", "retention: standard", "retention: standrad")
    edit(folder, "sources.yaml", "streams: 2", "streams: 99")
    edit(folder, "sources.yaml", "[offsite]", "[primary]")
    edit(folder, "repositories.yaml", "prefix:", "prefx:")
    edit(folder, "policies.yaml", "rto: 30m", "rto: soon")
    (folder / "alerts.yaml").unlink()
    (folder / "encryption.yaml").write_text("")
    assert problems(folder) == [
        f"{SHOP}.streams: Write at most 16, not 99.",
        "repositories.yaml: repositories.primary.prefx: Write 'prefix', or remove the line. There is no key 'prefx'.",
        "policies.yaml: objectives.standard.rto: " + DURATION_ADVICE,
        "encryption.yaml: Fill it in. The file is empty.",
        "alerts.yaml: Create the file. It does not exist.",
        f"{SHOP}.retention: Name one of: standard. There is no retention policy 'standrad'.",
        f"{SHOP}.offsite: Name another repository. 'primary' is the one that the backups are written to.",
    ]


def test_one_cause_gives_one_problem(folder: Path) -> None:
    (folder / "policies.yaml").unlink()
    assert problems(folder) == ["policies.yaml: Create the file. It does not exist."]


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("sources.yaml", "connection: postgres_shop", "connection: postgresql://backup:hunter2@db/shop"),
        ("sources.yaml", "connection: postgres_shop", "connection: postgres_shop\n    password: hunter2"),
        ("sources.yaml", "connection: postgres_shop", "connection: {host: db, password: hunter2}"),
        ("encryption.yaml", "encryption: {}", "encryption: {t: {method: gpg_passphrase, passphrase: hunter2}}"),
        ("sources.yaml", "connection: postgres_shop", "connection: 'postgres_shop\n    password: hunter2"),
    ],
)
def test_a_secret_that_was_put_in_a_file_is_not_repeated(folder: Path, file: str, old: str, new: str) -> None:
    edit(folder, file, old, new)
    assert "hunter2" not in "\n".join(problems(folder))
