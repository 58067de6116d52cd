from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from backup_playbook.engines.postgres.inventory import Table
from backup_playbook.engines.postgres.plan import (
    OWN_STREAM_BYTES,
    SMALLEST_PACK_BYTES,
    TABLE_OVERHEAD_BYTES,
    PackStream,
    TableStream,
    plan_streams,
)

PAGE = 8192


def table(
    number: int, size: int = 0, *, pages: int | None = None, method: str = "heap", name: str = "", condition: str = ""
) -> Table:
    return Table(
        oid=number,
        namespace="public",
        name=name or f"t{number}",
        kind="table",
        access_method=method,
        bytes=size,
        pages=size // PAGE if pages is None else pages,
        columns=["id"],
        generated=[],
        condition=condition,
        key=["id"],
        needs=[],
        root=None,
        key_type="integer",
        readable=True,
        hides_rows=False,
    )


sizes = st.one_of(st.integers(0, 1 << 20), st.integers(0, 1 << 30))
shapes = st.tuples(
    sizes, st.integers(0, 1 << 17), st.sampled_from(["heap", "columnar"]), st.sampled_from(["", "a\nb", "\x7f"])
)
tables = st.lists(shapes, max_size=40).map(
    lambda found: [
        table(number, size, pages=pages, method=method, name=name and f"{name}{number}")
        for number, (size, pages, method, name) in enumerate(found)
    ]
)


@settings(deadline=None, max_examples=60)
@given(tables, st.integers(1, 16), st.integers(1 << 24, 1 << 30))
def test_every_page_of_every_table_travels_exactly_once(found: list[Table], streams: int, chunk: int) -> None:
    planned = plan_streams(found, streams, chunk)

    packed = [item for stream in planned if isinstance(stream, PackStream) for item in stream.tables]
    alone = [stream for stream in planned if isinstance(stream, TableStream)]
    assert len({stream.name for stream in planned}) == len(planned)
    assert {item.oid for item in packed} | {stream.table.oid for stream in alone} == {item.oid for item in found}
    assert not {item.oid for item in packed} & {stream.table.oid for stream in alone}
    assert len(packed) == len({item.oid for item in packed})
    for item in found:
        ranges = [stream.pages for stream in alone if stream.table.oid == item.oid]
        if len(ranges) <= 1:
            assert ranges in ([], [None])
            continue
        assert item.access_method == "heap"
        assert ranges[0] is not None
        assert ranges[0][0] == 0
        assert ranges[-1] is not None
        assert ranges[-1][1] is None, "rows that come after the plan was made would be lost"
        for one, following in pairwise(ranges):
            assert one is not None
            assert following is not None
            assert one[1] == following[0]
            assert one[0] < following[0]


@settings(deadline=None, max_examples=60)
@given(tables, st.integers(1, 16))
def test_packs_are_bounded_and_keep_their_order(found: list[Table], streams: int) -> None:
    for stream in plan_streams(found, streams):
        if isinstance(stream, PackStream):
            assert [item.oid for item in stream.tables] == sorted(item.oid for item in stream.tables)
            assert stream.tables
            largest = max(OWN_STREAM_BYTES + TABLE_OVERHEAD_BYTES, SMALLEST_PACK_BYTES, 128 << 20)
            assert stream.estimate <= largest
            for item in stream.tables:
                assert not set("\n\x7f") & set(item.name), "a psql script is read by lines"


def test_thousands_of_empty_tables_spread_over_the_streams() -> None:
    planned = plan_streams([table(number) for number in range(5000)], streams=2)
    assert all(isinstance(stream, PackStream) for stream in planned)
    assert 4 <= len(planned) <= 10


def test_a_huge_table_is_cut_and_a_row_filter_is_not() -> None:
    huge = 1 << 30
    assert len(plan_streams([table(1, huge)], 2)) == 8
    assert len(plan_streams([table(1, huge, condition="WHERE id > 1")], 2)) == 1
    assert len(plan_streams([table(1, huge, pages=1)], 2)) == 1, "all of it is in TOAST, one page holds all rows"


def test_names_of_streams_are_harmless() -> None:
    (stream,) = plan_streams([table(1, name="../../Ä $(id)\n`x`")], 2)
    assert stream.name == "00001-public...-..-id-x.copy"
