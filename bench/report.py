"""The named figures, their goals, and the two files that a run leaves: results.json and from it RESULTS.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Series

MIB = 1 << 20


@dataclass(frozen=True)
class Goal:
    """at_most and at_least are in `unit`; `note` says what else must hold, and how it was measured."""

    unit: str
    at_least: float | None = None
    at_most: float | None = None
    note: str = ""

    def met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        sign, bound = ("≥", self.at_least) if self.at_least is not None else ("≤", self.at_most)
        return f"{sign} {_number(bound)} {self.unit}".rstrip()


GOALS: Mapping[str, Goal] = {
    "backup_vs_playbook": Goal("x", at_least=4, note="how many times faster than the playbook's script"),
    "backup_vs_pg_dump_pipe": Goal("x", at_least=2, note="how many times faster than `pg_dump -Fc | aws s3 cp -`"),
    "backup_vs_limit": Goal(
        "x", at_most=1.5, note="its time, without the start of Python, against parallel COPY to /dev/null"
    ),
    "backup_scratch_bytes": Goal("bytes", at_most=MIB, note="written to local disk, by all of its processes"),
    "huge_table_speedup": Goal("x", at_least=1.3, note="one huge table: all streams against one"),
    "backup_peak_rss_mb": Goal("MiB", at_most=300, note="resident memory of Python and all clients, at 1.3 GB"),
    "backup_peak_rss_4gb_mb": Goal("MiB", at_most=300, note="the same at 4 GB; at most 10 % more than at 1.3 GB"),
    "restore_vs_pg_restore": Goal(
        "x",
        at_most=1.1,
        note="its time against `pg_restore -j` from a local directory and `vacuumdb --analyze-only`; no scratch disk",
    ),
    "restore_vs_playbook": Goal("x", at_least=1.2, note="how many times faster than the playbook's `gunzip; psql`"),
    "restore_data_vs_playbook": Goal("x", at_least=1.6, note="the same where the only indexes are primary keys"),
    "proof_share": Goal("x", at_most=0.25, note="proof over restore, both without the start of Python"),
    "restore_peak_rss_mb": Goal("MiB", at_most=300, note="restore and proof: Python and all clients, at 1.3 GB"),
    "restore_peak_rss_4gb_mb": Goal("MiB", at_most=300, note="the same at 4 GB; at most 10 % more than at 1.3 GB"),
    "row_recovery_vs_playbook": Goal(
        "x", at_least=20, note="a deleted user and all that went along: how many times faster than the playbook's way"
    ),
    "row_recovery_seconds": Goal("s", at_most=5, note="the same in seconds, both without Airflow"),
    "row_recovery_many_seconds": Goal("s", at_most=60, note="100,000 deleted rows with 100,000 children, the same way"),
    "mongodb_backup_vs_limit": Goal(
        "x", at_least=0.8, note="its rate against the driver's that reads the same documents, and does nothing else"
    ),
    "mongodb_restore_vs_limit": Goal("x", at_least=0.8, note="the same, writing them"),
    "promotion_unreachable_seconds": Goal(
        "s",
        at_most=2,
        note="20 reconnecting clients get no answer under the live name; the worst round",
    ),
    "verification_seconds": Goal("s", at_most=60, note="daily verification of 30 sources with 1,000 backups each"),
    "files_first_vs_aws": Goal(
        "x", at_least=1.5, note="20,000 small files and 1 GB, first run: how many times faster than `aws s3 sync`"
    ),
    "files_first_vs_rclone": Goal("x", at_least=1, note="the same against `rclone sync` with its default transfers"),
    "files_second_vs_aws": Goal("x", at_least=5, note="200,000 files, nothing changed: against `aws s3 sync --delete`"),
    "files_one_of_million_seconds": Goal(
        "s", at_most=3, note="one file out of 1,000,000, restored and proven, without the start of Python"
    ),
    "files_peak_rss_mb": Goal("MiB", at_most=300, note="first run, 20,000 small files and 1 GB"),
    "files_second_peak_rss_mb": Goal("MiB", at_most=300, note="200,000 files, nothing changed"),
    "files_one_peak_rss_mb": Goal("MiB", at_most=300, note="one file out of 1,000,000"),
    "catalog_10000_seconds": Goal("s", at_most=2, note="10,000 backups listed with their state"),
    "dag_file_median_ms": Goal("ms", at_most=30, note="one file of dags/ parsed, over importing Airflow: the median"),
    "dag_file_slowest_ms": Goal("ms", at_most=120, note="the same of the slowest file"),
}


@dataclass(frozen=True)
class Figure:
    """A result with a goal in GOALS. spread: smallest and largest round; holds: what the note demands."""

    name: str
    value: float
    spread: tuple[float, float] | None = None
    holds: bool = True

    def to_json(self) -> dict[str, Any]:
        goal = GOALS[self.name]
        document: dict[str, Any] = {"value": round(self.value, 3), "unit": goal.unit, "goal": str(goal)}
        document["met"] = self.holds and goal.met(self.value)
        document["note"] = goal.note
        if self.spread:
            document["spread"] = [round(value, 3) for value in self.spread]
        return document


@dataclass(frozen=True)
class Section:
    """What one discipline measured. facts: what was measured on, and what was noticed, by name."""

    name: str
    title: str
    series: Mapping[str, Series] = field(default_factory=dict)
    figures: Sequence[Figure] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "facts": dict(self.facts),
            "series": {name: _series_json(series) for name, series in self.series.items()},
        }


def document(size: str, date: str, machine: Mapping[str, Any], sections: Sequence[Section]) -> dict[str, Any]:
    """results.json: the named figures first, then everything that they were made of."""
    return {
        "command": f"make bench SIZE={size}",
        "size": size,
        "date": date,
        "figures": {figure.name: figure.to_json() for section in sections for figure in section.figures},
        "machine": dict(machine),
        "measurements": {section.name: section.to_json() for section in sections},
    }


def merged(file: Path, results: Mapping[str, Any]) -> Mapping[str, Any]:
    """The results of some disciplines in the place of those that `file` has; of all others, what it has.

    Results of another machine are not kept.
    """
    earlier = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    if earlier.get("machine") != results["machine"]:
        return results
    figures = earlier["figures"] | results["figures"]
    return {
        **results,
        "figures": {name: figures[name] for name in GOALS if name in figures},
        "measurements": earlier["measurements"] | results["measurements"],
    }


def missing(results: Mapping[str, Any]) -> list[str]:
    """Which figures a full run should have, and these results do not."""
    return [name for name in GOALS if name not in results["figures"]] if results["size"] == "full" else []


def write(results: Mapping[str, Any], json_file: Path) -> None:
    """The document, and beside it the same for people."""
    json_file.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    markdown = json_file.with_name(json_file.name.replace("results", "RESULTS")).with_suffix(".md")
    markdown.write_text(to_markdown(results), encoding="utf-8")


def to_markdown(results: Mapping[str, Any]) -> str:
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    lines = [
        "# Benchmark results", "",
        f"Reproduce with `{results['command']}`. Measured on {results['date']}: {machine}.", "",
    ]  # fmt: skip
    if results["size"] != "full":
        lines += ["This is a quick look at small data: start-up weighs much, and the goals are for SIZE=full.", ""]
    lines += ["| figure | value | min - max | goal | met | what |", "|---|---|---|---|---|---|"]
    for name, figure in results["figures"].items():
        spread = " - ".join(_number(value) for value in figure.get("spread", ()))
        value = f"{_number(figure['value'])} {figure['unit']}"
        met = "yes" if figure["met"] else "**no**"
        lines.append(f"| {name} | {value} | {spread} | {figure['goal']} | {met} | {_cell(figure['note'])} |")
    lines += [
        f"| {name} | | | {GOALS[name]} | **not measured** | {_cell(GOALS[name].note)} |" for name in missing(results)
    ]
    for section in results["measurements"].values():
        if section["facts"] or section["series"]:
            lines += ["", *_section_lines(section)]
    return "\n".join(lines) + "\n"


def _section_lines(section: Mapping[str, Any]) -> list[str]:
    lines = [f"## {section['title']}", ""]
    if section["facts"]:
        lines += [*(f"- {name}: {value}" for name, value in section["facts"].items()), ""]
    if section["series"]:
        lines += ["| | median | min - max | stored | local disk | how |", "|---|---|---|---|---|---|"]
    for name, series in section["series"].items():
        lines.append(
            f"| {name} | {series['median']:.2f} s | {series['min']:.2f} - {series['max']:.2f} s "
            f"| {_megabytes(series['stored_bytes'])} | {_megabytes(series['disk_bytes'])} | {_cell(series['what'])} |"
        )
    return lines


def _series_json(series: Series) -> dict[str, Any]:
    return {
        "what": series.what,
        "median": round(series.median, 3),
        "min": round(min(series.seconds), 3),
        "max": round(max(series.seconds), 3),
        "seconds": [round(value, 3) for value in series.seconds],
        "stored_bytes": max(series.stored_bytes, default=0),
        "disk_bytes": max(series.disk_bytes, default=0),
    }


def _cell(text: str) -> str:
    """A pipe inside a cell would end it, even within backticks."""
    return text.replace("|", "\\|")


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count else "-"


def _number(value: float | None) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".") if value is not None else ""
