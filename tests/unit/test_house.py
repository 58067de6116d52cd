"""Rules of the house that no linter knows: who may name what. docs/README.md draws the house."""

import ast
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.drift

PROJECT = Path(__file__).resolve().parents[2]
DAGS, PLUGINS = PROJECT / "dags", PROJECT / "plugins/backup_playbook"
KNOW_ENGINES = ("connections", "config", "engines")
DEFENDED = {
    # how many files were restored: a word of its report, and no engine
    ("operators/file_restore_report.py", "files"),
}
ASKS_BY_TASK = {"xcom_pull", "get_task_states", "get_ti_count", "get_task_instance"}


class Module(NamedTuple):
    """A file. name: as seen from dags/ or from plugins/backup_playbook/."""

    name: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.name.partition("/")[0]


@cache
def modules(folder: Path) -> list[Module]:
    found = [Module(str(file.relative_to(folder)), ast.parse(file.read_text())) for file in folder.rglob("*.py")]
    return sorted(found, key=lambda module: module.name)


def registered_engines() -> set[str]:
    [names] = [
        node.value.keys
        for node in ast.parse((PLUGINS / "connections/registry.py").read_text()).body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    ]
    return {str(name.value) for name in names if isinstance(name, ast.Constant)}


def ids_of_tasks() -> set[str]:
    """Their last parts: `assess` of `check.assess`."""
    calls = [node for module in modules(DAGS) for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    named = [word.value for call in calls for word in call.keywords if word.arg == "task_id"]
    return {str(name.value) for name in named if isinstance(name, ast.Constant)}


TASKS, DAG_IDS = ids_of_tasks(), {file.stem for file in DAGS.rglob("*.py")}
ENGINES = registered_engines()


def texts(tree: ast.AST) -> Iterator[ast.Constant]:
    """All texts but docstrings."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node


def literals(tree: ast.AST) -> list[tuple[int, str]]:
    """Line and text of each of them."""
    return [(node.lineno, str(node.value)) for node in texts(tree)]


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def room_of(imported: ast.ImportFrom) -> str:
    """`config` of `from backup_playbook.config.load import ...`."""
    package, _, rest = (imported.module or "").partition(".")
    return rest.partition(".")[0] if package == PLUGINS.name else ""


def task_ids(module: Module) -> Iterator[str]:
    """Tasks that are named by a literal: they have to come from the operators that a DAG file passes."""
    for line, text in literals(module.tree):
        # a word of one part may be anything: `restore` is a phase, too
        if text.rpartition(".")[2] in TASKS and re.search("[._]", text):
            yield f"{line}: {text!r} is the id of a task"
        if re.search(r"xcom_pull\(['\"\[]+\w", text):
            yield f"{line}: a template names a task"
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        named = [word.value for word in node.keywords if word.arg in ("task_id", "task_ids")]
        asked = node.args[:1] if getattr(node.func, "attr", "") in ASKS_BY_TASK else []
        if any(is_text(part) for given in (*named, *asked) for part in ast.walk(given)):
            yield f"{node.lineno}: a task is named by a literal"


def tasks_of_texts(module: Module) -> Iterator[str]:
    """Tasks that a remedy names, and that no DAG has: "clear the task `verify`"."""
    for line, text in literals(module.tree):
        for name in re.findall(r"\btask `(\w+)`", text):
            if name not in TASKS:
                yield f"{line}: no DAG has a task `{name}`"


def params(module: Module) -> Iterator[str]:
    """Fields of forms: what a step works on are its arguments, which the graph shows."""
    for node in ast.walk(module.tree):
        if "params" in (getattr(node, "attr", ""), getattr(node, "id", ""), getattr(node, "arg", "")):
            yield f"{node.lineno}: params"  # type: ignore[attr-defined]
    for line, text in literals(module.tree):
        if text == "params" or re.search(r"{{.*\bparams\b", text):
            yield f"{line}: {text!r}"


def kinds_of_things(module: Module) -> Iterator[str]:
    """Questions for the class of an engine or of settings: they have to answer by themselves."""
    forbidden = {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom)
        and re.match(rf"backup_playbook\.({'|'.join(KNOW_ENGINES)})", node.module or "")
        for alias in node.names
    }
    for node in ast.walk(module.tree):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("isinstance", "issubclass"):
            asked = node.args[1:]
        elif isinstance(node, ast.MatchClass):
            asked = [node.cls]
        elif isinstance(node, ast.Compare) and getattr(getattr(node.left, "func", None), "id", "") == "type":
            asked = node.comparators
        names = {part.id for one in asked for part in ast.walk(one) if isinstance(part, ast.Name)}
        for name in sorted(names & forbidden):
            yield f"{asked[0].lineno}: asks for the class {name}"


def engine_names(module: Module) -> Iterator[str]:
    """Names of engines. A `kind` is none: databases and files."""
    kinds = {
        id(part)
        for node in ast.walk(module.tree)
        if (isinstance(node, ast.Compare) and getattr(node.left, "attr", "") == "kind")
        or (isinstance(node, ast.Call) and getattr(node.func, "id", "") == "sources")
        for part in ast.walk(node)
    }
    for node in texts(module.tree):
        if node.value in ENGINES and id(node) not in kinds and (module.name, node.value) not in DEFENDED:
            yield f"{node.lineno}: names the engine {node.value!r}"


def names_of_dags(module: Module) -> Iterator[str]:
    """DAGs that are named anywhere, also in prose."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (f"{node.lineno}: names {word}" for word in re.findall(r"\w+", node.value) if word in DAG_IDS)


def task_functions(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        for decorator in getattr(node, "decorator_list", ()):
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if re.match(r"task(\.|$)", ast.unparse(called)):
                yield f"{decorator.lineno}: @{ast.unparse(called)}"


def operators(module: Module) -> Iterator[str]:
    """Classes that a graph could have as tasks. Those of operators/ cannot be imported below it."""
    for node in ast.walk(module.tree):
        bases = {ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in getattr(node, "bases", ())}
        if any(re.search(r"(Operator|Sensor)$", base) for base in bases):
            yield f"{node.lineno}: an operator"  # type: ignore[attr-defined]


def more_than_wiring(module: Module) -> Iterator[str]:
    """Whatever a DAG file has besides the wiring of operators that are at home in operators/."""
    at_home = {
        alias.asname or alias.name
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and room_of(node) == "operators"
        for alias in node.names
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            yield f"{node.lineno}: the class {node.name}"
        elif isinstance(node, ast.FunctionDef):
            how = [ast.unparse(one).partition("(")[0] for one in node.decorator_list]
            if how not in (["dag"], ["task_group"]):
                yield f"{node.lineno}: the function {node.name}"
        elif isinstance(node, ast.Call) and any(word.arg == "task_id" for word in node.keywords):
            name = ast.unparse(node.func).removesuffix(".partial")
            if name not in at_home:
                yield f"{node.lineno}: {name} is no operator of operators/"


Rule = Callable[[Module], Iterator[str]]


def in_rooms(*rooms: str) -> list[Module]:
    return [module for module in modules(PLUGINS) if module.room in rooms]


def outside(*rooms: str) -> list[Module]:
    return [module for module in modules(PLUGINS) if module.room not in rooms]


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        (task_ids, modules(PLUGINS)),
        (tasks_of_texts, modules(PLUGINS)),
        (params, in_rooms("operators")),
        (kinds_of_things, [*outside(*KNOW_ENGINES), *modules(DAGS)]),
        (engine_names, [*outside(*KNOW_ENGINES), *modules(DAGS)]),
        (names_of_dags, in_rooms("core")),
        (task_functions, [*modules(PLUGINS), *modules(DAGS)]),
        (operators, outside("operators")),
        (more_than_wiring, modules(DAGS)),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_house_is_in_order(rule: Rule, where: list[Module]) -> None:
    assert where
    assert [f"{module.name}:{fault}" for module in where for fault in rule(module)] == []


@pytest.mark.parametrize(
    ("rule", "text", "wrong"),
    [
        (task_ids, "states.get('approve_plan')", True),
        (task_ids, "states['check.assess']", True),
        (task_ids, "ti.xcom_pull('verify')", True),
        (task_ids, "ti.xcom_pull(task_ids=['verify'])", True),
        (task_ids, "ti.xcom_pull(f'{group}.verify')", True),
        (task_ids, "body = '{{ ti.xcom_pull(\"verify\") }}'", True),
        (task_ids, "ti.xcom_pull(self.plan, key='plan')", False),
        (task_ids, "phases['restore']", False),
        (tasks_of_texts, "x = 'Clear the task `verfy` of this run.'", True),
        (tasks_of_texts, "x = 'Clear the task `verify` of this run.'", False),
        (params, "context['params']", True),
        (params, "context.get('params')", True),
        (params, "self.dag.params", True),
        (params, "def execute(self, params): ...", True),
        (params, "source = '{{ params.source }}'", True),
        (params, "'`{{ params.hold }}` in prose'", False),
        (kinds_of_things, "from backup_playbook.config import A\nisinstance(x, (A, B))", True),
        (kinds_of_things, "from backup_playbook.engines.files.x import A\nmatch x:\n    case A(): ...", True),
        (kinds_of_things, "from backup_playbook.config import A\ntype(x) is A", True),
        (kinds_of_things, "from backup_playbook.core.errors import A\nisinstance(x, A)", False),
        (engine_names, "x.engine == 'postgres'", True),
        (engine_names, "x.kind == 'files'", False),
        (names_of_dags, "'''Of release_hold.'''", True),
        (task_functions, "@task\ndef f(): ...", True),
        (task_functions, "@task.branch(retries=0)\ndef f(): ...", True),
        (task_functions, "@task_group\ndef f(): ...", False),
        (operators, "class Mine(BaseOperator): ...", True),
        (operators, "class Mine(x.HandoffOperator[Restoring]): ...", True),
        (operators, "class Mine(BaseNotifier): ...", False),
        (more_than_wiring, "from airflow.x import BashOperator\nBashOperator(task_id='x')", True),
        (more_than_wiring, "from backup_playbook.operators.x import A\nA.partial(task_id='x')", False),
        (more_than_wiring, "def helper(): ...", True),
    ],
)
def test_what_counts_as_a_fault(rule: Rule, text: str, wrong: bool) -> None:
    assert bool(list(rule(Module("room/file.py", ast.parse(text))))) is wrong
