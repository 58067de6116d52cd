"""docs/DAGS.md and the README's table of symptoms are what `python -m docs` writes, and name fields that there are."""

import re

import pytest

from docs.__main__ import PAGE, PROJECT, README, page, readme
from docs.symptoms import SYMPTOMS, Symptom

pytestmark = pytest.mark.drift


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "Run: python -m docs"


def test_table_of_the_readme_is_up_to_date() -> None:
    assert README.read_text() == readme(), "Run: python -m docs"


def test_readme_begins_with_what_to_do_now() -> None:
    headings = re.findall(r"^## (.+)$", README.read_text(), re.M)
    assert headings[0] == "Something is wrong now"


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda symptom: symptom.what)
def test_forms_have_the_fields_that_a_symptom_names(symptom: Symptom) -> None:
    [file] = (PROJECT / "dags").rglob(f"{symptom.dag_id}.py")
    names = re.findall(r"^from backup_playbook\.forms\.(\w+) import", file.read_text(), re.M)
    forms = [PROJECT / "plugins/backup_playbook/forms" / f"{name}.py" for name in names]
    text = "\n".join(one.read_text() for one in [file, *forms])
    fields = re.findall(r"\*([^*]+)\*", symptom.form)
    assert [field for field in fields if f'"{field}"' not in text] == []
    assert bool(symptom.form) == bool(symptom.takes)


def test_a_dag_without_a_symptom_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("docs.__main__.SYMPTOMS", SYMPTOMS[1:])
    with pytest.raises(ValueError, match="recover_deleted_rows: What to do: correct docs/symptoms"):
        page()
