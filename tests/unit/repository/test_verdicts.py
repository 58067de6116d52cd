"""What is known of a backup, from the names of its evidence: two facts, and no clock that decides between them."""

from datetime import UTC, datetime, timedelta

import pytest

from backup_playbook.core.model import EvidenceKind
from backup_playbook.core.recovery_points import choose_backup, is_sound, newest_points
from backup_playbook.core.scrub import plan_scrub
from backup_playbook.repository.catalog import CatalogEntry, reached
from backup_playbook.repository.layout import EvidenceName, digest_of
from tests.support.backups import backup_id, listed

TAKEN = datetime(2026, 11, 20, 2, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def entry() -> CatalogEntry:
    return CatalogEntry("shop", backup_id(TAKEN), sealed=True)


def say(one: CatalogEntry, kind: EvidenceKind, at: datetime, qualifier: str = "full") -> EvidenceName:
    """As `Catalog.add_evidence` names it, at the time of a clock that may be wrong."""
    about = EvidenceKind.UNEQUAL
    if kind in (EvidenceKind.VERIFIED, EvidenceKind.REJECTED):
        about = EvidenceKind.REJECTED
    name = EvidenceName(at, kind, qualifier, digest_of(reached(kind, qualifier, one.findings(about))))
    one.evidence.append(name)
    return name


@pytest.mark.parametrize("apart", [-90 * DAY, -HOUR, HOUR, 90 * DAY])
def test_a_rejection_holds_until_a_verification_names_it(apart: timedelta) -> None:
    one = entry()
    say(one, EvidenceKind.VERIFIED, NOW + apart)
    assert one.verified
    say(one, EvidenceKind.REJECTED, NOW)
    say(one, EvidenceKind.REJECTED, NOW + 2 * apart)
    assert (one.rejected, one.verified, is_sound(one, NOW)) == (True, None, False)
    answer = say(one, EvidenceKind.VERIFIED, NOW - apart)
    assert not one.rejected
    assert one.verified
    say(one, EvidenceKind.REJECTED, answer.at - DAY)
    assert one.rejected, "each new one holds"


def test_a_reading_ends_no_rejection_that_took_a_closer_look() -> None:
    one = entry()
    for found, answers in (("full", ("checksums", "stored")), ("stored", ("checksums",)), ("restore", ("stored",))):
        say(one, EvidenceKind.REJECTED, NOW, found)
        for number, depth in enumerate(answers):
            say(one, EvidenceKind.VERIFIED, NOW + (number + 1) * HOUR, depth)
            assert one.rejected, (found, depth)
        say(one, EvidenceKind.VERIFIED, NOW + 3 * HOUR, "full")
        assert not one.rejected
    say(one, EvidenceKind.REJECTED, NOW + 4 * HOUR, "checksums")
    assert one.rejected
    say(one, EvidenceKind.VERIFIED, NOW + 5 * HOUR, "checksums")
    assert not one.rejected, "what was answered before stays answered"
    say(one, EvidenceKind.REJECTED, NOW + 6 * HOUR, "full")
    say(one, EvidenceKind.VERIFIED, NOW + 7 * HOUR, "repaired")
    assert not one.rejected
    of_before = listed(TAKEN, rejected=NOW)
    of_before.evidence.append(EvidenceName(NOW + HOUR, EvidenceKind.VERIFIED, "checksums"))
    assert of_before.rejected


def test_what_was_rejected_while_a_verification_read_is_not_answered_by_it() -> None:
    one, before = entry(), entry()
    say(one, EvidenceKind.REJECTED, NOW)
    one.evidence.append(EvidenceName(NOW + HOUR, EvidenceKind.VERIFIED, "full", digest_of(before.evidence)))
    assert one.rejected


def test_evidence_of_before_is_read_by_its_time_and_nothing_new_is() -> None:
    one = listed(TAKEN, rejected=NOW, verified=NOW + HOUR)
    assert one.verified
    say(one, EvidenceKind.REJECTED, NOW - HOUR)
    assert one.rejected
    assert listed(TAKEN, verified=NOW, rejected=NOW + HOUR).rejected


def test_an_unequal_copy_is_ended_by_a_proof_and_by_no_reading() -> None:
    one = entry()
    say(one, EvidenceKind.VERIFIED, TAKEN)
    say(one, EvidenceKind.RESTORED, TAKEN + HOUR, "primary")
    say(one, EvidenceKind.UNEQUAL, TAKEN, "restore")
    say(one, EvidenceKind.VERIFIED, NOW)
    assert (one.unequal, one.rejected, one.proven, is_sound(one, NOW)) == (True, False, None, False)
    assert one.verified, "its bytes are right, and it is copied off-site"
    say(one, EvidenceKind.RESTORED, TAKEN - DAY, "primary")
    assert is_sound(one, NOW)
    assert one.proven


def test_findings_that_a_repository_hears_of_later_are_those_that_were_answered() -> None:
    """Evidence is written into all repositories; one that was away gets it later, from one that had seen more."""
    primary, offsite = entry(), entry()
    say(primary, EvidenceKind.UNEQUAL, TAKEN, "restore")
    for one in (primary, offsite):
        say(one, EvidenceKind.UNEQUAL, NOW, "restore")
        say(one, EvidenceKind.RESTORED, NOW, "primary")
        assert not one.unequal
    offsite.evidence += primary.evidence
    assert not offsite.unequal


def test_a_person_answers_for_an_unequal_copy_and_not_for_damaged_bytes() -> None:
    one = entry()
    say(one, EvidenceKind.VERIFIED, TAKEN)
    say(one, EvidenceKind.UNEQUAL, NOW, "restore")
    say(one, EvidenceKind.ACCEPTED, NOW, "")
    assert is_sound(one, NOW)
    say(one, EvidenceKind.REJECTED, NOW)
    say(one, EvidenceKind.ACCEPTED, NOW, "")
    assert not is_sound(one, NOW)


def test_a_restore_of_before_that_rejected_a_backup_is_both() -> None:
    """One name stood for damaged bytes and for an unequal copy."""
    one = listed(TAKEN)
    one.evidence.append(EvidenceName(TAKEN + DAY, EvidenceKind.REJECTED, "restore"))
    assert (one.rejected, one.unequal) == (True, True)
    say(one, EvidenceKind.VERIFIED, NOW)
    assert (one.rejected, one.unequal) == (False, True)
    say(one, EvidenceKind.RESTORED, NOW, "primary")
    assert is_sound(one, NOW)


def test_the_latest_is_another_one_and_an_id_takes_an_unequal_one() -> None:
    unequal, older = listed(TAKEN), listed(TAKEN - DAY)
    say(unequal, EvidenceKind.UNEQUAL, NOW, "restore")
    assert choose_backup([unequal, older], now=NOW) is older
    assert choose_backup([unequal, older], unequal.backup_id, now=NOW) is unequal
    points = newest_points("shop", {"primary": [unequal, older]}, (), NOW)
    assert points.newest["unverified"].states == {"primary": "A COPY WAS NOT EQUAL"}
    assert points.newest["verified"].backup_id == older.backup_id


def test_a_release_names_the_hold_that_it_ends() -> None:
    held = listed(TAKEN, held=NOW)
    held.evidence.append(
        EvidenceName(NOW - DAY, EvidenceKind.RELEASED, "", digest_of(held.findings(EvidenceKind.HELD)))
    )
    assert not held.held
    assert listed(TAKEN, held=NOW, released=NOW - DAY).held


def test_a_date_that_has_not_come_counts_for_nothing_and_is_read() -> None:
    ahead, good = listed(NOW + 90 * DAY), listed(TAKEN)
    ahead.sealed_at = good.sealed_at = NOW
    assert choose_backup([ahead, good], now=NOW) is good
    assert plan_scrub([ahead, good], 30 * DAY, NOW)[0] is ahead
    say(ahead, EvidenceKind.VERIFIED, NOW)
    assert ahead.last_read(NOW) == NOW
    later = NOW + 91 * DAY
    assert not is_sound(ahead, later), "its date is as wrong when it has come: its content is of today"
    assert is_sound(good, later)


def test_clocks_that_differ_a_little_change_nothing() -> None:
    one = listed(TAKEN, verified=TAKEN - DAY)
    one.sealed_at = TAKEN - 14 * HOUR
    assert is_sound(one, NOW)


def test_a_run_that_a_person_starts_reads_what_was_just_rejected() -> None:
    rejected, good = listed(TAKEN, rejected=NOW), listed(TAKEN - DAY, verified=NOW)
    assert plan_scrub([rejected, good], 30 * DAY, NOW) == []
    assert plan_scrub([rejected, good], 30 * DAY, NOW, asked=True) == [rejected]
