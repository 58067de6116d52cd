"""Rules of the layout that no linter knows."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.drift

PROJECT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
PROGRAM_FOLDERS = ("dags", "plugins", "embedded", "include", "bench", "tests")


def test_files_stay_small_enough_to_read() -> None:
    files = [file for folder in PROGRAM_FOLDERS for file in (PROJECT / folder).rglob("*.py")]
    lengths = {str(file.relative_to(PROJECT)): len(file.read_text().splitlines()) for file in files}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_a_dag_file_is_named_like_its_dag() -> None:
    for file in (PROJECT / "dags").rglob("*.py"):
        assert f"def {file.stem}(" in file.read_text(), f"{file.name} defines no DAG of its own name"


def test_airflow_does_not_import_the_package_module_by_module() -> None:
    assert "backup_playbook/" in (PROJECT / "plugins/.airflowignore").read_text().splitlines()


@pytest.mark.parametrize("package", ["core", "streams", "repository"])
def test_what_is_below_the_engines_names_no_engine_and_no_dag(package: str) -> None:
    """Words come from the engine, and names of DAGs from whoever calls."""
    engines = {file.parent.name for file in (PROJECT / "plugins/backup_playbook/engines").glob("*/__init__.py")}
    dags = {file.stem for file in (PROJECT / "dags").rglob("*.py")}
    assert len(engines) > 2
    assert len(dags) > 2
    for file in (PROJECT / "plugins/backup_playbook" / package).rglob("*.py"):
        tree = ast.parse(file.read_text())
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                words = set(re.findall(r"\w+", node.value))
                assert node.value.lower() not in engines, f"{file.name}, line {node.lineno}: {node.value}"
                assert not words & dags, f"{file.name}, line {node.lineno}: {node.value}"
