"""NFS: what is asked of which file, and what becomes of it, however it is cut, lost, or made up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.nfs.names import OPERATIONS, operation, procedure, status
from ids.types import Direction, StreamChunk
from tests.factory import NO_DATAGRAMS, T0, make_flow, make_streams
from tests.protocols import exports
from tests.protocols.exports import (
    NEW,
    NFS_ACL,
    ROOT,
    SECRET,
    Turn,
    call,
    call4,
    content3,
    denied,
    gss,
    name3,
    opaque,
    putfh,
    read3,
    record,
    reply,
    results,
    streamed,
    u32,
    u64,
    unix,
    write3,
    write4,
)  # fmt: skip
from tests.protocols.said import CLIENT, SERVER, Heard, over_tcp, over_udp
from tests.protocols.test_rare import facts

LOOKUP = call(1, 3, name3(ROOT, b"secret.txt"))
FOUND = reply(1, u32(0) + opaque(SECRET) + exports.ATTRIBUTES * 2)
SESSIONS = {"2": exports.V2, "3": exports.V3, "4": exports.V4, "rare": exports.RARE}
MIB = 1024 * 1024


def told(heard: Heard) -> list[tuple[Any, ...]]:
    """Return of each event the procedure, the name and the status."""
    return [(one["procedure"], one["filename"], one.get("status")) for one in map(dict[str, Any], heard.events)]


# What is said


def test_version_3() -> None:
    heard = over_tcp(*streamed(exports.V3))
    assert told(heard) == [
        ("NULL", "", "OK"), ("FSINFO", "", "OK"), ("LOOKUP", "secret.txt", "OK"), ("LOOKUP", "missing", "ERR_NOENT"),
        ("ACCESS", "secret.txt", "OK"), ("READ", "secret.txt", "OK"), ("CREATE", "new.txt", "OK"),
        ("WRITE", "new.txt", "OK"), ("SETATTR", "new.txt", "ERR_ACCES"), ("RENAME", "new.txt", "OK"),
        ("MKDIR", "folder", "OK"), ("READDIRPLUS", "", "OK"), ("READ", "listed.txt", "OK"),
        ("REMOVE", "old.txt", "OK"), ("RMDIR", "folder", "ERR_NOTEMPTY"),
    ]  # fmt: skip
    assert heard.events[2] == {
        "version": 3, "procedure": "LOOKUP", "filename": "secret.txt", "hhash": "36c31449", "id": 3, "file_tx": False,
        "type": "response", "status": "OK",
        "rpc": {
            "xid": 0x1002, "status": "ACCEPTED", "auth_type": "UNIX",
            "creds": {"machine_name": "a-client.example", "uid": 1000, "gid": 100},
        },
    }  # fmt: skip
    assert heard.events[7]["write"] == {"first": True, "last": True, "last_xid": 0x1009, "chunks": 1}
    assert heard.events[9]["rename"] == {"from": "new.txt", "to": "old.txt"}
    assert set(heard.of("nfs.version")) == {b"3"}
    assert b"GETATTR" in heard.of("nfs.operation"), "rules see what has no event"


def test_version_2() -> None:
    heard = over_udp(*exports.V2)
    assert told(heard) == [
        ("LOOKUP", "two.txt", "OK"), ("READ", "two.txt", "OK"), ("WRITE", "two.txt", "OK"),
        ("CREATE", "made.txt", "OK"), ("RENAME", "made.txt", "OK"), ("REMOVE", "moved.txt", "ERR_NOENT"),
        ("STATFS", "", "OK"),
    ]  # fmt: skip
    assert heard.of("nfs.procedure") == [b"4", b"6", b"8", b"9", b"11", b"10", b"17"]


def test_version_4() -> None:
    heard = over_tcp(*streamed(exports.V4))
    assert told(heard) == [
        ("NULL", "", "OK"), ("EXCHANGE_ID", "", "OK"), ("CREATE_SESSION", "", "OK"), ("LOOKUP", "secret.txt", "OK"),
        ("READ", "secret.txt", "OK"), ("OPEN", "new.txt", "OK"), ("WRITE", "new.txt", "OK"), ("CREATE", "folder", "OK"),
        ("RENAME", "new.txt", "OK"), ("REMOVE", "old.txt", "OK"), ("REMOVE", "gone.txt", "ERR_NOENT"),
        ("READDIR", "", "OK"),
    ]  # fmt: skip
    assert heard.odd == []


@pytest.mark.parametrize("version", SESSIONS)
def test_datagrams_say_what_a_stream_says(version: str) -> None:
    assert facts(over_udp(*SESSIONS[version])) == facts(over_tcp(*streamed(SESSIONS[version]), closed=False))


# Streams


@given(version=st.sampled_from(sorted(SESSIONS)), step=st.integers(1, 2000), sizes=st.lists(st.integers(1, 40)))
@settings(max_examples=60, deadline=None)
def test_however_records_are_cut_the_same_is_said(version: str, step: int, sizes: list[int]) -> None:
    """Into segments by the network, and into fragments by the sender, but for the first head."""
    turns: list[Turn] = []
    for side, message in SESSIONS[version]:
        cuts = [24 + sum(sizes[: n + 1]) for n in range(len(sizes)) if 24 + sum(sizes[: n + 1]) < len(message)]
        turns.append((side, record(message, *cuts)))
    assert facts(over_tcp(*turns, step=step)) == facts(over_tcp(*streamed(SESSIONS[version])))


@pytest.mark.parametrize("version", [3, 4])
def test_large_records_are_not_held(version: int) -> None:
    """Of each record the beginning is read, and of its payload nothing is kept."""
    data = bytes(MIB)
    write = call(2, 7, write3(NEW, data, stable=2)) if version == 3 else call4(2, putfh(NEW), write4(data, stable=2))
    wrote = u32(0) + bytes(40) if version == 3 else results(exports.PUT_OK, u32(38, 0, MIB, 2) + bytes(8))
    counters, flow = Counters(), make_flow()
    stage = Protocols(ProtocolSettings.model_validate({"nfs": {"memcap_bytes": 256 * 1024}}), counters, flow.columns)
    heard = Heard(flow, counters)
    offsets = [0, 0]
    for side, message in [
        (CLIENT, write),
        (SERVER, reply(2, wrote)),
        (CLIENT, call(3, 12, name3(ROOT, b"x"), version=3)),
    ]:
        stream = record(message)
        for at in range(0, len(stream), 1400):
            piece = stream[at : at + 1400]
            rows = [StreamChunk(flow, side, offsets[side], piece, T0, 1)]
            offsets[side] += len(piece)
            heard.seen += stage.feed(make_streams(rows), NO_DATAGRAMS)
    assert told(heard) == [("WRITE", "", "OK")]
    assert heard.of("nfs.filename") == [b"x"], "what follows is read"
    assert "nfs.memcap" not in counters.values
    assert heard.odd == []


def test_a_fragment_without_an_end_is_bounded() -> None:
    """Fragments of one record that never ends are held up to the limit, and the record is cut there."""
    piece = u32(1000) + bytes(1000)
    heard = over_tcp(
        (CLIENT, record(LOOKUP)),
        (CLIENT, piece * 200 + record(LOOKUP)),
        (CLIENT, record(call(9, 12, name3(ROOT, b"y")))),
    )
    assert heard.of("nfs.filename") == [b"secret.txt", b"y"]


def with_gap(*pieces: tuple[Direction, int, bytes], **more: object) -> Heard:
    """Return what comes of pieces of a stream, each behind so many missing bytes."""
    counters, flow = Counters(), make_flow()
    stage = Protocols(ProtocolSettings.model_validate(more), counters, flow.columns)
    heard, offsets = Heard(flow, counters), [0, 0]
    for number, (side, gap, data) in enumerate(pieces, 1):
        chunk = StreamChunk(flow, side, offsets[side] + gap, data, T0, number, gap=gap)
        offsets[side] += gap + len(data)
        heard.seen += stage.feed(make_streams([chunk]), NO_DATAGRAMS)
    return heard


def test_a_record_is_found_behind_missing_bytes() -> None:
    heard = with_gap(
        (CLIENT, 0, record(LOOKUP)), (CLIENT, 50, record(call(2, 12, name3(ROOT, b"a")))),
        (SERVER, 70, record(reply(2, u32(0)))),
    )  # fmt: skip
    assert told(heard) == [("REMOVE", "a", "OK")]


@pytest.mark.parametrize("lost", [1, 500, 900])
def test_missing_bytes_of_a_payload_are_of_no_matter(lost: int) -> None:
    stream = record(call(2, 7, write3(NEW, bytes(1000), stable=2)))
    behind = record(call(3, 12, name3(ROOT, b"a")))
    heard = with_gap(
        (CLIENT, 0, record(LOOKUP)), (CLIENT, 0, stream[:200]), (CLIENT, lost, stream[200 + lost :] + behind),
        (SERVER, 0, record(reply(2, u32(0)))), (SERVER, 0, record(reply(3, u32(0)))),
    )  # fmt: skip
    assert told(heard) == [("WRITE", "", "OK"), ("REMOVE", "a", "OK")]
    assert heard.odd == []


# Calls and replies


def test_replies_come_in_any_order() -> None:
    asked = [(CLIENT, call(number, 12, name3(ROOT, b"%d" % number))) for number in range(100)]
    answered = [(SERVER, reply(number, u32(number % 2))) for number in reversed(range(100))]
    heard = over_udp(*asked, *answered)
    wanted = [("REMOVE", str(number), ("OK", "ERR_PERM")[number % 2]) for number in reversed(range(100))]
    assert told(heard) == wanted


def test_the_oldest_call_gives_way() -> None:
    asked = [(CLIENT, call(number, 12, name3(ROOT, b"%d" % number))) for number in range(3)]
    heard = over_udp(*asked, (SERVER, reply(0, u32(0))), nfs={"open_requests": 2})
    assert told(heard) == [("REMOVE", "0", None)]
    assert heard.counters.values["nfs.requests_evicted"] == 1
    odd = [(dict(row.fields)["rpc"]["xid"], one) for row in heard.seen for one in row.instances(ODDITY)]
    assert odd == [(2, b"nfs.too_many_transactions")], "once a flow"
    assert heard.counters.values["nfs.replies_unmatched"] == 1


def test_what_has_no_reply_is_logged_at_the_end() -> None:
    heard = over_tcp((CLIENT, record(LOOKUP)), (CLIENT, record(call(2, 6, read3(SECRET)))))
    assert told(heard) == [("LOOKUP", "secret.txt", None), ("READ", "", None)]
    assert "status" not in heard.events[0]["rpc"]  # type: ignore[operator]


def test_a_call_that_comes_again_is_another() -> None:
    heard = over_udp((CLIENT, LOOKUP), (CLIENT, LOOKUP), (SERVER, FOUND))
    assert told(heard) == [("LOOKUP", "secret.txt", None), ("LOOKUP", "secret.txt", "OK")]


PASSWD, OTHER = b"\1\0\6\1passwd--", b"\1\0\6\1other---"


@pytest.mark.parametrize("turned", [False, True])
def test_a_call_with_the_identifier_of_another_hides_no_name(turned: bool) -> None:
    """Nothing says which reply is whose: each handle has the names of both."""
    asked = [(CLIENT, call(2, 3, name3(ROOT, name))) for name in (b"passwd", b"foo")]
    answered = [(SERVER, reply(2, u32(0) + opaque(handle) + u32(0, 0))) for handle in (PASSWD, OTHER)]
    if turned:
        asked.reverse()
        answered.reverse()
    heard = over_udp(*asked, *answered, (CLIENT, call(3, 7, write3(PASSWD, b"x"))))
    assert set(heard.of("nfs.filename")[2:]) == {b"passwd", b"foo"}
    assert heard.odd == [b"nfs.xid_reused"]


def test_nor_does_a_call_that_asks_for_something_else() -> None:
    other = call(2, 1, opaque(ROOT))
    found = (SERVER, reply(2, u32(0) + opaque(PASSWD) + u32(0, 0)))
    attributes = (SERVER, reply(2, u32(0) + bytes(84)))
    write = (CLIENT, call(3, 7, write3(PASSWD, b"x")))
    look = (CLIENT, call(2, 3, name3(ROOT, b"passwd")))
    for turns in ((look, (CLIENT, other), found, attributes), ((CLIENT, other), look, attributes, found)):
        heard = over_udp(*turns, write)
        assert heard.of("nfs.filename") == [b"passwd", b"passwd"]
    compounds = [call4(2, putfh(ROOT), u32(15) + opaque(name), u32(10)) for name in (b"passwd", b"foo")]
    got = results(exports.PUT_OK, u32(15, 0), exports.got(PASSWD))
    heard = over_udp(*[(CLIENT, one) for one in compounds], (SERVER, reply(2, got)),
                     (CLIENT, call4(3, putfh(PASSWD), write4(b"x"))))  # fmt: skip
    assert set(heard.of("nfs.filename")[2:]) == {b"passwd", b"foo"}


def test_calls_with_one_identifier_are_bounded() -> None:
    looks = [(CLIENT, call(2, 3, name3(ROOT, b"%d" % number))) for number in range(100)]
    more = [(CLIENT, call(xid, 3, name3(ROOT, b"%d" % number))) for xid in range(200) for number in range(2)]
    found = (SERVER, reply(2, u32(0) + opaque(PASSWD) + u32(0, 0)))
    heard = over_tcp(*streamed([*looks, found, (CLIENT, call(3, 7, write3(PASSWD, b"x"))), *more]))
    names = next(one.more.get("nfs.filename", ()) for one in heard.seen if one.buffers.get("nfs.operation") == b"WRITE")
    assert (b"0" in names, len(names)) == (True, 8)


def test_a_call_can_be_denied_or_refused() -> None:
    heard = over_udp((CLIENT, LOOKUP), (SERVER, denied(1)), (CLIENT, LOOKUP), (SERVER, reply(1, accepted=4)))
    assert [one["rpc"]["status"] for one in heard.events] == ["DENIED", "ACCEPTED"]  # type: ignore[index]
    assert told(heard) == [("LOOKUP", "secret.txt", None)] * 2
    assert heard.odd == []


def test_a_file_is_one_transaction() -> None:
    reads: list[Turn] = []
    for number in range(5):
        reads.append((CLIENT, call(10 + number, 6, read3(SECRET, 10 * number, 10))))
        reads.append((SERVER, reply(10 + number, content3(bytes(10), eof=number == 4))))
    heard = over_udp((CLIENT, LOOKUP), (SERVER, FOUND), *reads)
    assert told(heard) == [("LOOKUP", "secret.txt", "OK"), ("READ", "secret.txt", "OK")]
    assert heard.events[1]["read"] == {"first": True, "last": True, "last_xid": 14, "chunks": 5}
    assert heard.events[1]["id"] == 2


def test_the_oldest_file_and_the_oldest_name_give_way() -> None:
    looks = [
        turn
        for number, handle in enumerate((b"one.", b"two."))
        for turn in ((CLIENT, call(number, 3, name3(ROOT, handle + b"txt"))),
                     (SERVER, reply(number, u32(0) + opaque(handle))))
    ]  # fmt: skip
    reads = [(CLIENT, call(8 + n, 6, read3(handle))) for n, handle in enumerate((b"one.", b"two."))]
    heard = over_udp(*looks, *reads, nfs={"names": 1, "transfers": 1})
    assert told(heard)[2:] == [("READ", "", None)]
    assert heard.of("nfs.filename") == [b"one.txt", b"two.txt", b"two.txt"]
    assert heard.counters.values["nfs.names_evicted"] == heard.counters.values["nfs.transfers_evicted"] == 1


def test_names_of_users_and_machines_are_filled_up_to_four_bytes() -> None:
    heard = over_udp((CLIENT, call(1, 0, credentials=unix(0, 7, b"odd"))))
    assert (heard.of("nfs.uid"), heard.of("nfs.gid"), heard.of("nfs.machine_name")) == ([b"0"], [b"7"], [b"odd"])


def test_a_link_says_where_it_points() -> None:
    unset = u32(1, 0o777) + bytes(20)
    link = call(1, 10, name3(ROOT, b"link") + unset + opaque(b"/etc/shadow"))
    compounds = call4(2, putfh(ROOT), u32(6, 5) + opaque(b"/etc/passwd") + opaque(b"link4") + u32(0) + opaque(b""))
    heard = over_udp((CLIENT, link), (CLIENT, compounds))
    assert heard.of("nfs.filename") == [b"link", b"/etc/shadow", b"link4", b"/etc/passwd"]


# RPCSEC_GSS


def test_what_is_signed_is_read() -> None:
    lookup = name3(ROOT, b"signed")
    asked = call(1, 3, opaque(u32(5) + lookup) + opaque(b"checksum"), credentials=gss(2))
    answered = reply(1, opaque(u32(5) + u32(0) + opaque(SECRET)) + opaque(b"checksum"))
    read = call(2, 6, read3(SECRET))
    heard = over_udp((CLIENT, asked), (SERVER, answered), (CLIENT, read))
    assert told(heard) == [("LOOKUP", "signed", "OK")]
    assert heard.events[0]["rpc"] == {"xid": 1, "status": "ACCEPTED", "auth_type": "GSS"}
    assert heard.of("nfs.filename") == [b"signed", b"signed"]


def test_what_is_encrypted_is_counted() -> None:
    heard = over_udp((CLIENT, call(1, 3, opaque(b"sealed"), credentials=gss(3))), (SERVER, reply(1, opaque(b"sealed"))))
    assert told(heard) == [("LOOKUP", "", None)]
    assert heard.counters.values["nfs.encrypted"] == 1
    assert heard.odd == []


def test_contexts_are_made_by_calls_of_their_own() -> None:
    heard = over_udp(
        (CLIENT, call(1, 0, opaque(b"token"), credentials=gss(3, procedure=1))), (SERVER, reply(1, b"any"))
    )
    assert told(heard) == [("NULL", "", None)]
    assert heard.odd == []


# Version 4


@pytest.mark.parametrize(
    ("operations", "named"),
    [
        ((putfh(ROOT), u32(15) + opaque(b"a"), u32(15) + opaque(b"b"), u32(28) + opaque(b"c")), [b"a", b"b", b"c"]),
        ((u32(53) + bytes(32), putfh(ROOT), u32(11) + opaque(b"linked")), [b"linked"]),
        ((putfh(ROOT), u32(12, 1, 0) + u64(0, 9) + u32(1, 1) + bytes(20) + u64(1) + opaque(b"owner"),
          u32(28) + opaque(b"c")), [b"c"]),
        ((u32(51, 0, 1, 1, 1) + u64(0, 9) + bytes(16) + opaque(b"body"), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(49) + u64(0, 9) + u32(0) + bytes(16) + u32(1) + u64(1) + u32(1) + bytes(12) + u32(1) + opaque(b""),
          u32(28) + opaque(b"c")), [b"c"]),
        ((u32(55, 2) + bytes(32), u32(45) + bytes(16), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(73, 0) + opaque(b"user.mime") + opaque(b"value"), u32(28) + opaque(b"c")), [b"user.mime", b"c"]),
        ((u32(35) + bytes(8) + opaque(b"id") + u32(1) + opaque(b"tcp") + opaque(b"192.0.2.1.8.1") + u32(1),
          u32(28) + opaque(b"c")), [b"c"]),
        ((putfh(ROOT), u32(32), putfh(SECRET), u32(31), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(40, 1 << 30, 3, 0, 1, 7) + opaque(b"host") + u32(0, 0, 1, 5, 6, 1) + opaque(b"s") + opaque(b"c"),
          u32(28) + opaque(b"c")), [b"c"]),
        ((u32(60) + bytes(32 + 24) + u32(1, 0, 2, 1) + opaque(b"a.example") + u32(3) + opaque(b"tcp")
          + opaque(b"192.0.2.1.8.1"), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(61) + bytes(16) + u32(2) + opaque(b"nfs://a.example"), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(64) + bytes(32) + u32(2) + bytes(48), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(65) + bytes(32 + 32 + 16) + u32(4) + opaque(b"body"), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(70) + bytes(16) + u32(2) + u64(0, 512, 8, 0) + u32(0) + u64(0) + opaque(b"x"), u32(28) + opaque(b"c")),
         [b"c"]),
        ((u32(56, 0, 1, 0), u32(56, 0, 4), u32(28) + opaque(b"c")), [b"c"]),
        ((u32(42) + bytes(8) + opaque(b"me") + u32(0, 2, 0, 0, 1) + opaque(b"oid") + u32(0, 4, 2, 0),
          u32(28) + opaque(b"c")), [b"c"]),
        ((u32(55, 100) + bytes(1600), u32(28) + opaque(b"c")), [b"c"]),
    ],
)  # fmt: skip
def test_operations_are_read_behind_others(operations: tuple[bytes, ...], named: list[bytes]) -> None:
    heard = over_udp((CLIENT, call4(1, *operations)))
    assert heard.of("nfs.filename") == named
    assert heard.odd == []
    assert "nfs.operations_unread" not in heard.counters.values


@pytest.mark.parametrize(
    "how", [u32(0), u32(1, 0, 0) + opaque(b""), u32(1, 2) + bytes(8), u32(1, 3) + bytes(12) + opaque(b"")]
)
@pytest.mark.parametrize(("claim", "named"), [
    (u32(0) + opaque(b"o"), [b"o", b"c"]), (u32(1, 1), [b"c"]), (u32(2) + bytes(16) + opaque(b"o"), [b"o", b"c"]),
    (u32(4), [b"c"]), (u32(5) + bytes(16), [b"c"]),
])  # fmt: skip
def test_files_are_opened_in_many_ways(how: bytes, claim: bytes, named: list[bytes]) -> None:
    opened = u32(18, 0, 3, 0) + u64(7) + opaque(b"owner") + how + claim
    heard = over_udp((CLIENT, call4(1, opened, u32(28) + opaque(b"c"))))
    assert heard.of("nfs.filename") == named
    assert heard.odd == []


def test_what_stands_behind_an_unknown_operation_is_not_read() -> None:
    heard = over_udp((CLIENT, call4(1, u32(999), u32(28) + opaque(b"c"))))
    assert heard.of("nfs.procedure") == [b"999"]
    assert heard.counters.values["nfs.operations_unread"] == 1
    assert heard.odd == [b"nfs.unread_operations"]


@pytest.mark.parametrize(("behind", "odd"), [
    ((), []), ((u32(9, 1, 2),), []), ((u32(24), u32(28) + opaque(b"c")), [b"nfs.unread_operations"]),
])  # fmt: skip
def test_operations_behind_what_is_written(behind: tuple[bytes, ...], odd: list[bytes]) -> None:
    """Clients ask for attributes there. Where a record of several fragments is cut, nothing else is read."""
    written = call4(2, putfh(NEW), write4(bytes(70_000)), *behind)
    assert over_tcp((CLIENT, record(written, 100))).odd == odd
    for step in (0, 1400):
        heard = over_tcp((CLIENT, record(written)), (CLIENT, record(LOOKUP)), step=step)
        assert heard.odd == []
        assert heard.of("nfs.filename") == ([b"c"] if odd else []) + [b"secret.txt"]
        assert heard.of("nfs.procedure")[2:-1] == [b"%d" % int.from_bytes(one[:4], "big") for one in behind]


def test_what_is_behind_written_bytes_is_bounded_and_may_be_missing() -> None:
    remove = (u32(24), u32(28) + opaque(b"c"))
    long = call4(2, putfh(NEW), write4(bytes(70_000)), u32(24), u32(28) + opaque(b"c" * 5000))
    assert over_tcp((CLIENT, record(long)), step=1400).odd == [b"nfs.unread_operations"]
    stream = record(call4(2, putfh(NEW), write4(bytes(70_000)), *remove))
    for at, read in ((66_000, True), (len(stream) - 20, False)):
        heard = with_gap((CLIENT, 0, stream[:at]), (CLIENT, 10, stream[at + 10 :] + record(LOOKUP)))
        assert heard.odd == ([] if read else [b"nfs.unread_operations"])
        assert heard.of("nfs.filename") == ([b"c"] if read else []) + [b"secret.txt"]
    twice = call4(2, putfh(NEW), write4(bytes(70_000)), write4(bytes(70_000)), *remove)
    assert over_tcp((CLIENT, record(twice)), step=1400).odd == [b"nfs.unread_operations"]


@pytest.mark.parametrize(("first", "result"), [
    (u32(40, 1, 1, 0), u32(40, 0)),
    (u32(26) + bytes(16) + u32(99, 99, 0), u32(26, 0) + bytes(8) + u32(1) + u64(3) + opaque(b"n") + u32(1, 2)
     + opaque(b"abcd") + u32(0, 1)),
    (u32(60) + bytes(56) + u32(1, 0, 0), u32(60, 0, 1) + bytes(16) + u64(9) + u32(2) + bytes(8) + u32(1, 1)),
    (u32(49) + u64(0, 9) + u32(0) + bytes(16) + u32(0, 0, 1) + opaque(b""), u32(49, 0, 1) + u64(9)),
    (u32(51, 0, 1, 1, 2), u32(51, 0, 1) + bytes(16)),
    (u32(69) + bytes(16) + u64(0) + u32(0), u32(69, 0, 1) + u64(7)),
])  # fmt: skip
def test_a_handle_is_found_behind_other_results(first: bytes, result: bytes) -> None:
    asked = call4(1, first, putfh(ROOT), u32(15) + opaque(b"passwd"), u32(10))
    heard = over_udp(
        (CLIENT, asked), (SERVER, reply(1, results(result, exports.PUT_OK, u32(15, 0), exports.got(NEW)))),
        (CLIENT, call4(2, putfh(NEW), write4(b"x"))),
    )  # fmt: skip
    assert heard.of("nfs.filename") == [b"passwd", b"passwd"]


def test_more_operations_than_any_server_takes_are_not_read() -> None:
    heard = over_udp((CLIENT, call4(1, *[u32(10)] * 100)))
    assert len(heard.of("nfs.procedure")) == 64
    assert heard.odd == [b"nfs.unread_operations"]
    assert heard.counters.values["nfs.operations_unread"] == 1


@pytest.mark.parametrize("delegation", [
    u32(0), u32(1) + bytes(20) + u32(0, 0, 0) + opaque(b"who"), u32(2) + bytes(20) + u32(1) + bytes(8) + u32(0, 0, 0)
    + opaque(b""), u32(3, 1, 1), u32(3, 5),
])  # fmt: skip
def test_a_handle_is_found_behind_a_delegation(delegation: bytes) -> None:
    opened = u32(18, 0) + bytes(16 + 20) + u32(4, 0) + delegation
    heard = over_udp(
        (CLIENT, call4(1, putfh(ROOT), exports.open4(b"name"), u32(10))),
        (SERVER, reply(1, results(exports.PUT_OK, opened, exports.got(NEW)))),
        (CLIENT, call4(2, putfh(NEW), write4(b"x"))),
    )
    assert heard.of("nfs.filename") == [b"name", b"name"]


# What is wrong, and what is not NFS


@pytest.mark.parametrize(
    ("messages", "odd"),
    [
        (((CLIENT, LOOKUP[:-8]),), [b"nfs.malformed_data"]),
        (((CLIENT, LOOKUP), (SERVER, FOUND[:40])), [b"nfs.malformed_data"]),
        (((CLIENT, LOOKUP), (SERVER, FOUND[:20])), [b"nfs.malformed_data"]),
        (((CLIENT, LOOKUP), (CLIENT, call(2, 3, name3(ROOT, b"a"), version=5))), [b"nfs.non_existing_version"]),
        (((CLIENT, LOOKUP), (CLIENT, call(2, 3, name3(ROOT, b"a"), version=1))), [b"nfs.unsupported_version"]),
        (((CLIENT, call(2, 7, write3(NEW, b"abcd")[:-4])),), [b"nfs.malformed_data"]),
        (((CLIENT, call4(2, putfh(ROOT)[:-4])),), [b"nfs.malformed_data"]),
        (((CLIENT, call(2, 3, b"\0" * 3, credentials=gss(2))),), [b"nfs.malformed_data"]),
        (((CLIENT, call(2, 99, b"anything")),), []),
    ],
)
def test_what_is_odd(messages: tuple[Turn, ...], odd: list[bytes]) -> None:
    assert over_udp(*messages).odd == odd
    assert over_tcp(*streamed(messages)).odd == odd


def test_other_programs_are_passed_over() -> None:
    acl = call(2, 1, opaque(ROOT) + u32(1), program=NFS_ACL)
    heard = over_udp((CLIENT, LOOKUP), (CLIENT, acl), (SERVER, reply(2, u32(0))), (SERVER, FOUND))
    assert told(heard) == [("LOOKUP", "secret.txt", "OK")]
    assert heard.counters.values["nfs.other_programs"] == 1


def test_calls_of_the_server_are_passed_over() -> None:
    heard = over_tcp((CLIENT, record(LOOKUP)), (SERVER, record(call(1, 1, program=1 << 30))), (SERVER, record(FOUND)),
                     (CLIENT, record(reply(1))))  # fmt: skip
    assert told(heard) == [("LOOKUP", "secret.txt", "OK")]


@pytest.mark.parametrize("program", [100_000, 100_005])
def test_the_portmapper_and_mounts_are_not_nfs(program: int) -> None:
    assert over_udp((CLIENT, call(1, 3, program=program)), dport=2049).flow.app_proto != "nfs"
    assert over_tcp((CLIENT, record(call(1, 3, program=program)))).flow.app_proto != "nfs"


def test_at_its_port_a_flow_is_nfs_whatever_came_before() -> None:
    junk = [(CLIENT, b"\x00junk")] * 20
    assert told(over_udp(*junk, (CLIENT, LOOKUP), (SERVER, FOUND), dport=2049)) == [("LOOKUP", "secret.txt", "OK")]


@pytest.mark.parametrize("first", [record(call(1, 3, program=100_000)), record(b"junk" * 9), u32(1 << 31)])
def test_at_its_port_a_first_record_of_something_else_hides_nothing(first: bytes) -> None:
    heard = over_tcp((CLIENT, first), (CLIENT, record(LOOKUP)), (SERVER, record(FOUND)), dport=2049)
    assert told(heard) == [("LOOKUP", "secret.txt", "OK")]


@pytest.mark.parametrize("size", range(12, 24))
@pytest.mark.parametrize("step", [0, 1])
def test_a_head_in_two_fragments_hides_nothing(size: int, step: int) -> None:
    heard = over_tcp((CLIENT, record(LOOKUP, size)), (SERVER, record(FOUND, size)), step=step)
    assert told(heard) == [("LOOKUP", "secret.txt", "OK")]


@pytest.mark.parametrize("cuts", [(1,), (4,), (11,), (4, 8, 12, 16, 20, 50), (1, 2, 3, 15), (3, 14, 40), range(1, 30)])
@pytest.mark.parametrize("dport", [2049, 20049])
@pytest.mark.parametrize("step", [0, 1])
def test_fragments_of_few_bytes_hide_nothing(cuts: tuple[int, ...], dport: int, step: int) -> None:
    heard = over_tcp((CLIENT, record(LOOKUP, *cuts)), (SERVER, record(FOUND, *cuts)), step=step, dport=dport)
    assert told(heard) == [("LOOKUP", "secret.txt", "OK")]


@pytest.mark.parametrize("before", [u32(0), u32(0) * 9, record(call(7, 0, program=NFS_ACL))])
def test_at_its_port_fragments_hide_nothing_behind_others(before: bytes) -> None:
    heard = over_tcp((CLIENT, before + record(LOOKUP, 4, 8, 9)), (SERVER, record(FOUND)), dport=2049)
    assert told(heard) == [("LOOKUP", "secret.txt", "OK")]


def test_numbers_without_a_name() -> None:
    assert (procedure(3, 7), procedure(3, 22), procedure(9, 1)) == ("WRITE", "22", "1")
    assert (operation(38), operation(53), operation(2), operation(10044)) == ("WRITE", "SEQUENCE", "2", "10044")
    assert operation(2 + len(OPERATIONS)) == "REMOVEXATTR"
    assert (status(13), status(10011)) == ("ERR_ACCES", "10011")


@given(st.lists(st.tuples(st.sampled_from(list(Direction)), st.binary(max_size=200)), max_size=8), st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_breaks_the_parser(turns: list[Turn], framed: bool) -> None:
    """Heads that are right, with anything behind them."""
    head = {CLIENT: LOOKUP[:24], SERVER: FOUND[:24]}
    messages = [(CLIENT, LOOKUP), *((side, head[side] + data if framed else data) for side, data in turns)]
    for heard in (
        over_udp(*messages),
        over_tcp(*streamed(messages)),
        over_tcp((CLIENT, record(LOOKUP)), *messages[1:]),
    ):
        assert "app_layer.error.nfs.internal" not in heard.counters.values
        assert heard.flow.app_proto == "nfs"
