"""The shipped configuration, where it is found, and what it answers."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
import yaml

from backup_playbook.config import GpgPassphrase, load_config
from backup_playbook.config.__main__ import main
from backup_playbook.config.load import DEFAULT_FOLDER, FILES, FOLDER_VARIABLE
from backup_playbook.config.schema import schemas
from backup_playbook.core.errors import ConfigError
from backup_playbook.core.retention import RetentionPolicy


def test_the_shipped_configuration_is_the_demos() -> None:
    config = load_config(DEFAULT_FOLDER)
    shop = config.source("shop")
    assert (shop.engine, shop.connection, shop.repository, shop.offsite) == (
        "postgres",
        "postgres_shop",
        "primary",
        ("offsite",),
    )
    assert config.repository("primary").bucket == "playbook-backups"
    assert config.repository("offsite").bucket == "playbook-backups-offsite"
    assert config.retention_of("shop") == RetentionPolicy(30, 12, 12, 7, 3)
    assert config.objectives_of("shop").rpo == timedelta(hours=24)
    assert config.encryption_of("shop") is None
    assert (config.airflow.pool, config.sweep.grace) == ("backups", timedelta(hours=24))
    assert config.alerts.critical.mention == "<!channel>"


def test_the_default_is_found_from_any_directory(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != FOLDER_VARIABLE}
    printed = subprocess.check_output(
        [sys.executable, "-m", "backup_playbook.config", "check"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(DEFAULT_FOLDER.parents[1] / "plugins")},
        text=True,
    )
    assert printed == (
        f"{DEFAULT_FOLDER} is right: sources shop, uploads; repositories primary, offsite, files, files_offsite.\n"
    )


def test_the_environment_names_another_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    assert load_config().folder == folder
    monkeypatch.setenv(FOLDER_VARIABLE, "")
    assert load_config().folder == DEFAULT_FOLDER


def test_unchanged_files_are_not_read_again_and_changed_ones_are(folder: Path) -> None:
    first = load_config(folder)
    assert load_config(folder) is first

    sources = folder / "sources.yaml"
    sources.write_text(sources.read_text().replace("streams: 2", "streams: 12"))
    assert load_config(folder).source("shop").streams == 12


def test_encryption_of_a_source(folder: Path) -> None:
    (folder / "encryption.yaml").write_text("encryption: {safe: {method: gpg_passphrase, connection: gpg}}")
    sources = folder / "sources.yaml"
    sources.write_text(sources.read_text().replace("encryption: null", "encryption: safe"))
    assert load_config(folder).encryption_of("shop") == GpgPassphrase(method="gpg_passphrase", connection="gpg")


def test_public_keys_are_found_beside_the_configuration(folder: Path) -> None:
    (folder / "team.asc").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    (folder / "encryption.yaml").write_text(
        "encryption: {team: {method: gpg_recipients, recipients: [a@example.com], public_keys: team.asc}}"
    )
    team = load_config(folder).encryption["team"]
    assert team.method == "gpg_recipients"
    assert team.public_keys == folder / "team.asc"


@pytest.mark.parametrize(
    ("lookup", "message"),
    [
        (
            lambda config: config.source("shpo"),
            "There is no source 'shpo' in sources.yaml.\nWhat to do: Name one of: shop, uploads.",
        ),
        (
            lambda config: config.repository("primery"),
            (
                "There is no repository 'primery' in repositories.yaml.\n"
                "What to do: Name one of: primary, files, files_offsite, offsite."
            ),
        ),
        (
            lambda config: config.retention_of("x`id`"),
            "There is no source 'x`id`' in sources.yaml.\nWhat to do: Name one of: shop, uploads.",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_answered_with_those_that_do(lookup, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as error:
        lookup(load_config(DEFAULT_FOLDER))
    assert str(error.value) == message


def test_the_models_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_config(DEFAULT_FOLDER).source("shop").streams = 3  # type: ignore[misc]


def test_check_prints_the_problems_and_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "alerts.yaml").unlink()
    assert main(["check", "--folder", str(folder)]) == 1
    assert "alerts.yaml: Create the file. It does not exist." in capsys.readouterr().err


@pytest.mark.drift
def test_the_schemas_are_those_of_the_models() -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in (DEFAULT_FOLDER / "schema").iterdir()}
    assert stored == schemas(), "run: python -m backup_playbook.config schema"


@pytest.mark.drift
@pytest.mark.parametrize("file", FILES)
def test_the_shipped_files_name_their_schema_and_fit_it(file: str) -> None:
    text = (DEFAULT_FOLDER / file).read_text(encoding="utf-8")
    name = f"{Path(file).stem}.schema.json"
    assert text.startswith(f"# yaml-language-server: $schema=schema/{name}\n")
    jsonschema.validate(yaml.safe_load(text), yaml.safe_load(schemas()[name]))
