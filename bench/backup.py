"""Backup: against the playbook, against the usual pipe, and against what the server can deliver at all."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from backup_playbook.engines.backup import Depth, Verification
from backup_playbook.engines.postgres.engine import PostgresEngine
from backup_playbook.repository.catalog import Catalog
from backup_playbook.repository.store import ObjectStore
from backup_playbook.streams.codec import Codec
from backup_playbook.streams.processes import Cancellation
from bench.contestants import STREAMS, Limit, This, pg_dump_pipe, playbook
from bench.measure import Series, peak_rss, race, ratio
from bench.report import MIB, Figure, Section
from bench.stand import BUCKET, Size, Stand
from bench.take_backup import SOURCE
from include.sample import load, load_huge

Say = Callable[[str], None]
RSS_GROWTH_ALLOWED = 1.1


def measure(stand: Stand, size: Size, say: Say) -> list[Section]:
    say(f"loading the shop, scale {size.shop_scale:g} ...")
    with stand.database("shop", partial(load, scale=size.shop_scale)) as database:
        contest = _contest(stand, database, size, say)
        memory = _memory(stand, database, say)
    say(f"loading one huge table, scale {size.huge_scale:g} ...")
    with stand.database("huge", partial(load_huge, scale=size.huge_scale)) as database:
        huge = _huge_table(stand, database, size, say)
    if size.large_scale is None:
        return [contest, huge, Section("memory", "Memory", figures=[Figure("backup_peak_rss_mb", memory)])]
    say(f"loading the shop, scale {size.large_scale:g} ...")
    with stand.database("large", partial(load, scale=size.large_scale)) as database:
        large = _memory(stand, database, say)
        facts = _proven(stand, database)
    figures = [
        Figure("backup_peak_rss_mb", memory),
        Figure("backup_peak_rss_4gb_mb", large, holds=large <= memory * RSS_GROWTH_ALLOWED),
    ]
    return [contest, huge, Section("memory", "Memory", figures=figures, facts=facts)]


def _contest(stand: Stand, database: str, size: Size, say: Say) -> Section:
    facts = _proven(stand, database)
    this = This(stand, database)
    contestants = [playbook(stand, database), pg_dump_pipe(stand, database), Limit(stand, database), this]
    series = race(contestants, size.rounds, say)
    ours = series[this.name]
    inside = Series(ours.what, [report["seconds"] for report in this.reports[-size.rounds :]])
    facts["start and end of Python, within the time of `this`"] = f"{ours.median - inside.median:.2f} s"
    facts["backup_vs_limit, with the start and end of Python"] = f"{ratio(ours, series['limit'])[0]:.2f} x"
    figures = [
        Figure("backup_vs_playbook", *ratio(series["playbook"], ours)),
        Figure("backup_vs_pg_dump_pipe", *ratio(series["pg_dump_pipe"], ours)),
        Figure("backup_vs_limit", *ratio(inside, series["limit"])),
        Figure("backup_scratch_bytes", max(ours.disk_bytes)),
    ]
    return Section("backup", "Backup of the shop", series, figures, facts)


def _huge_table(stand: Stand, database: str, size: Size, say: Say) -> Section:
    facts = _proven(stand, database)
    one, all_ = (This(stand, database, f"streams_{count}", count) for count in (1, STREAMS))
    series = race([one, all_], size.rounds, say)
    figures = [Figure("huge_table_speedup", *ratio(series[one.name], series[all_.name]))]
    return Section("huge_table", "One huge table", series, figures, facts)


def _memory(stand: Stand, database: str, say: Say) -> float:
    say("watching memory ...")
    return peak_rss(This(stand, database)) / MIB


def _proven(stand: Stand, database: str) -> dict[str, Any]:
    """What is in the database; and that our contestant stores all of it, read back byte by byte."""
    contestant = This(stand, database)
    contestant.before()
    try:
        contestant.run()
        report = contestant.reports[-1]
        catalog = Catalog(ObjectStore(stand.s3.client(), bucket=BUCKET, prefix=contestant.prefix))
        verification = Verification(catalog, PostgresEngine(), Codec(), Depth.FULL)
        evidence = verification.run(SOURCE, report["backup_id"], Cancellation(), report["seal"])
    finally:
        contestant.after()
    return {
        "rows": evidence.rows,
        "tables": evidence.tables,
        "content_mb": round((evidence.content_bytes or 0) / 1e6, 1),
    }
