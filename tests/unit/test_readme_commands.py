"""What the pages tell people to run and to open exists."""

import importlib.util
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from backup_playbook.config import load_config

pytestmark = pytest.mark.drift

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]


def code_blocks(language: str) -> list[str]:
    """Fenced blocks of one language, of all pages."""
    return [
        block for page in PAGES for block in re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)
    ]


def documented_commands() -> list[list[str]]:
    lines = "\n".join(code_blocks("bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):.*##", (PROJECT / "Makefile").read_text(), re.M))


def compose_services() -> set[str]:
    text = (PROJECT / "docker-compose.yaml").read_text().split("\nservices:\n")[1]
    return set(re.findall(r"^  ([a-z0-9-]+):$", text, re.M))


def problem(command: list[str]) -> str | None:
    """Why a documented command cannot work, or None."""
    match command:
        case ["make", target, *_]:
            return None if target in make_targets() else f"the Makefile has no target {target}"
        case ["docker", "compose", "up", *_]:
            return None
        case ["docker", "compose", "run", *arguments]:
            service = next(argument for argument in arguments if not argument.startswith("-"))
            return None if service in compose_services() else f"docker-compose.yaml has no service {service}"
        case ["python", "-m", module, *_]:
            return None if importlib.util.find_spec(module) else f"there is no module {module}"
    return "this test does not know the command; teach it how to check it"


def test_documented_commands_can_work() -> None:
    commands = documented_commands()
    assert ["make", "demo"] in commands
    problems = {shlex.join(command): why for command in commands if (why := problem(command))}
    assert problems == {}


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["make", "nothing"], "no target nothing"),
        (["docker", "compose", "run", "--rm", "nothing"], "no service nothing"),
        (["python", "-m", "embedded_nothing"], "no module embedded_nothing"),
        (["rm", "-rf", "x"], "does not know"),
    ],
)
def test_a_wrong_command_is_seen(command: list[str], reason: str) -> None:
    assert reason in (problem(command) or "")


@pytest.mark.parametrize("block", code_blocks("bash"))
def test_bash_blocks_parse(block: str) -> None:
    result = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    links += re.findall(r'<img src="([^"]+)"', page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_to_a_heading_find_it(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]*\.md)?#([^)]+)\)", page.read_text())
    assert [anchor for file, anchor in links if anchor not in anchors(page.parent / (file or page.name))] == []


def test_the_page_on_the_layout_has_a_line_for_each_package() -> None:
    layout = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    lines = re.findall(r"^\| `([a-z]+)/` \|", (PROJECT / "docs/README.md").read_text(), re.M)
    assert lines == [package for layer in layout for package in layer.split(" | ")]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_the_sources_of_the_readme_are_valid_configuration(number: int, tmp_path: Path) -> None:
    folder = shutil.copytree(PROJECT / "include/config", tmp_path / "config")
    added = yaml.safe_load(code_blocks("yaml")[number])
    mongo = {"mongo_staging": {"engine": "mongodb", "connection": "mongo_staging"}}
    for section, entries in (("sources", added), ("targets", mongo)):
        document = yaml.safe_load((folder / f"{section}.yaml").read_text())
        document[section] |= entries
        (folder / f"{section}.yaml").write_text(yaml.safe_dump(document))
    assert set(added) < set(load_config(folder).sources)


@pytest.mark.parametrize(("number", "role"), list(enumerate(["backup_role", "recovery_role"])))
def test_the_grants_of_the_readme_are_those_of_the_script(number: int, role: str) -> None:
    script = (PROJECT / f"include/sql/{role}.sql").read_text().splitlines()
    statements = [line for line in script if line and not line.startswith(("--", "\\"))]
    assert code_blocks("sql")[number].splitlines() == statements
