"""SMB: commands with their answers, trees, files, calls through pipes, in buffers and events; and hostile messages."""

from __future__ import annotations

from pathlib import Path
from struct import pack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols import ODDITY, Protocols, ProtocolSettings
from ids.protocols.smb.about import Exchange
from ids.protocols.smb.parser import SmbParser
from ids.protocols.smb.transfers import MAX_QUEUED
from ids.testing import Session, to_client
from ids.types import Direction, Transaction
from plugins.rules import Rules
from tests.factory import make_flow
from tests.protocols import calls, shares
from tests.protocols.shares import (
    CLOSE,
    CONNECT,
    CREATE,
    DENIED,
    END,
    GUID,
    IOCTL,
    NEGOTIATE,
    PENDING,
    READ,
    SAME,
    SET_INFO,
    SETUP,
    TRANSCEIVE,
    WRITE,
    compound,
    netbios,
    second,
)
from tests.protocols.wire import CLIENT, SERVER, Wire
from tests.shared import event_validator

SHARE, PIPES = "\\\\srv\\data", "\\\\srv\\IPC$"
ALONE = shares.ALONE


class Share:
    """A connection; each request of it has the next number, and its answer the same."""

    def __init__(self, **smb: int) -> None:
        self.wire = Wire()
        if smb:
            flow = make_flow()
            settings = ProtocolSettings.model_validate({"smb": smb})
            self.wire.stage, self.wire.flow = Protocols(settings, self.wire.counters, flow.columns), flow
        self._number = 0

    def ask(self, command: int, body: bytes, **head: Any) -> Share:
        self._number += 1
        self.wire.client(netbios(second(command, body, message_id=self._number, **head)))
        return self

    def answer(self, command: int, body: bytes, status: int = 0, **head: Any) -> Share:
        message_id = head.pop("message_id", self._number)
        message = second(command, body, answer=True, status=status, message_id=message_id, **head)
        self.wire.server(netbios(message))
        return self

    def tree(self, path: str = SHARE, kind: int = 1) -> Share:
        return self.ask(CONNECT, shares.connect(path), tree=0).answer(CONNECT, shares.connected(kind))

    def open(self, name: str = "a.txt", **answer: Any) -> Share:
        return self.ask(CREATE, shares.create(name)).answer(CREATE, shares.created(**answer))

    @property
    def asked(self) -> int:
        return self._number

    @property
    def parser(self) -> SmbParser:
        (talk,) = self.wire.stage._talks.by_id.values()
        assert isinstance(talk.parser, SmbParser)
        return talk.parser

    @property
    def seen(self) -> list[Transaction]:
        return self.wire.seen

    @property
    def last(self) -> Transaction:
        return self.wire.seen[-1]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(tx.fields) for tx in self.wire.seen if tx.complete]


def test_an_exchange_is_a_request_with_its_answer() -> None:
    share = Share().ask(NEGOTIATE, shares.negotiate(0x0202, 0x0311), tree=0, session=0)
    share.answer(NEGOTIATE, shares.negotiated(0x0311), tree=0, session=0)
    asked, answered = share.seen
    assert share.wire.flow.app_proto == "smb"
    assert (asked.direction, asked.complete, answered.direction, answered.complete) == (CLIENT, False, SERVER, True)
    assert dict(asked.buffers) == {"smb.command": b"SMB2_COMMAND_NEGOTIATE_PROTOCOL", "smb.version": b"2"}
    assert answered.buffers["smb.status"] == b"STATUS_SUCCESS"
    guid = "03020100-0504-0706-0908-0b0a0f0e0d0c"
    assert answered.fields == {
        "id": 1, "dialect": "3.11", "command": "SMB2_COMMAND_NEGOTIATE_PROTOCOL", "status": "STATUS_SUCCESS",
        "status_code": "0x0", "session_id": 0, "tree_id": 0, "client_dialects": ["2.02", "3.11"],
        "client_guid": guid, "server_guid": guid, "max_read_size": 0x100000, "max_write_size": 0x100000,
    }  # fmt: skip


def test_who_logs_on() -> None:
    share = Share().ask(SETUP, shares.setup(shares.logon("Alice", "CORP")), tree=0)
    share.answer(SETUP, shares.was_set_up(), status=DENIED, tree=0)
    asked, answered = share.seen
    assert (asked.buffers["smb.ntlmssp_user"], asked.buffers["smb.ntlmssp_domain"]) == (b"Alice", b"CORP")
    assert answered.fields["status"] == "STATUS_ACCESS_DENIED"
    assert answered.fields["ntlmssp"] == {
        "domain": "CORP", "user": "Alice", "host": "WS", "version": "10.0 build 19041 rev 15",
    }  # fmt: skip


def test_a_logon_whose_names_lie_outside_is_odd() -> None:
    token = shares.logon("Alice", "CORP")[:80]
    assert Share().ask(SETUP, shares.setup(token)).last.buffers[ODDITY] == b"smb.malformed_ntlmssp_request"


def test_a_ticket_names_its_service() -> None:
    def der(tag: int, content: bytes) -> bytes:
        return bytes((tag, 0x82)) + len(content).to_bytes(2, "big") + content

    names = b"".join(der(0x1B, name) for name in (b"cifs", b"srv.corp"))
    principal = der(0x30, der(0xA0, der(2, b"\x02")) + der(0xA1, der(0x30, names)))
    ticket = der(0x61, der(0x30, der(0xA0, der(2, b"\5")) + der(0xA1, der(0x1B, b"CORP")) + der(0xA2, principal)))
    request = der(0x6E, der(0x30, der(0xA0, der(2, b"\5")) + der(0xA3, ticket)))
    token = der(0x60, bytes.fromhex("06092a864886f712010202") + b"\1\0" + request)
    share = Share().ask(SETUP, shares.setup(der(0x60, b"spnego" + token)), tree=0).answer(SETUP, shares.was_set_up())
    assert share.last.fields["kerberos"] == {"realm": "CORP", "snames": ["cifs", "srv.corp"]}


@pytest.mark.parametrize(("path", "kind", "buffer", "key"), [
    (SHARE, 1, "smb.share", "share"), (PIPES, 2, "smb.named_pipe", "named_pipe"),
])  # fmt: skip
def test_trees_are_shares_or_pipes(path: str, kind: int, buffer: str, key: str) -> None:
    asked, answered = Share().tree(path, kind).seen
    assert asked.buffers[buffer] == path.encode()
    assert answered.fields[key] == path
    assert answered.fields["share_type"] == ("FILE" if kind == 1 else "PIPE")


def test_the_server_says_what_a_tree_is() -> None:
    """The name of the share of pipes is free to choose; rules then look at it twice."""
    _, again, answered = Share().tree("\\\\srv\\odd", 2).seen
    assert (again.direction, again.buffers["smb.named_pipe"]) == (CLIENT, b"\\\\srv\\odd")
    assert "named_pipe" in answered.fields


def test_what_is_opened() -> None:
    time = (1_600_000_000 + 11_644_473_600) * 10_000_000
    share = Share().tree().ask(CREATE, shares.create("dir\\ä.txt", 5, 0x1000))
    share.answer(CREATE, shares.created(size=77, time=time))
    assert share.seen[2].buffers["smb.filename"] == "dir\\ä.txt".encode()
    assert {key: value for key, value in share.last.fields.items() if key not in ("id", "dialect", "command")} == {
        "status": "STATUS_SUCCESS", "status_code": "0x0", "session_id": 7, "tree_id": 5, "filename": "dir\\ä.txt",
        "disposition": "FILE_OVERWRITE_IF", "access": "delete on close", "created": 1_600_000_000,
        "accessed": 1_600_000_000, "modified": 1_600_000_000, "changed": 1_600_000_000, "size": 77,
        "fuid": "00000011-0000-0000-0022-000000000000",
    }  # fmt: skip


def test_what_is_renamed_and_deleted() -> None:
    share = Share().tree().open("old.txt")
    share.ask(SET_INFO, shares.set_info(10, shares.renamed("new.exe"))).answer(SET_INFO, b"\2\0")
    share.ask(SET_INFO, shares.set_info(13, b"\1")).answer(SET_INFO, b"\2\0")
    renamed, deleted = share.events[-2:]
    assert renamed["rename"] == {"from": "old.txt", "to": "new.exe"}
    assert renamed["set_info"] == {"class": "FILE_INFO", "info_level": "SMB2_FILE_RENAME_INFO"}
    assert (deleted["filename"], deleted["access"]) == ("old.txt", "delete on close")
    assert share.seen[4].instances("smb.filename") == (b"old.txt", b"new.exe")


def file_of(share: Share) -> tuple[bytes, bytes, str]:
    """Return name, content and state of the file that ended last."""
    (*_, file) = share.wire.stage.files.take()[0]
    return file.name, file.content, file.state.name


def logged(share: Share) -> Share:
    share.wire.stage.files.want(None, logged=True)
    return share


def test_a_file_is_written_and_closed() -> None:
    share = logged(Share().tree().open())
    share.ask(WRITE, shares.write(0, b"MZ one ")).ask(WRITE, shares.write(7, b"two")).ask(CLOSE, shares.close())
    assert file_of(share) == (b"a.txt", b"MZ one two", "CLOSED")
    event = share.events[-1]
    assert (event["command"], event["filename"], event["status"]) == ("SMB2_COMMAND_WRITE", "a.txt", "STATUS_SUCCESS")


def test_a_file_is_read_to_its_end() -> None:
    share = logged(Share().tree().open())
    share.ask(READ, shares.read(0, 100)).answer(READ, shares.was_read(b"one "))
    share.ask(READ, shares.read(4, 100)).answer(READ, shares.was_read(b"two"))
    share.ask(READ, shares.read(7, 100)).answer(READ, shares.was_read(b""), status=END)
    assert file_of(share) == (b"a.txt", b"one two", "CLOSED")
    assert (share.events[-1]["share"], share.events[-1]["status"]) == (SHARE, "STATUS_END_OF_FILE")


def test_pieces_come_in_any_order() -> None:
    share = logged(Share().tree().open())
    for offset, data in ((6, b"three"), (3, b"two"), (0, b"one")):
        share.ask(WRITE, shares.write(offset, data))
    share.ask(CLOSE, shares.close())
    assert file_of(share) == (b"a.txt", b"onetwothree", "CLOSED")


def test_what_is_missing_of_a_file_is_lost() -> None:
    share = logged(Share().tree().open())
    share.ask(WRITE, shares.write(0, b"one")).ask(WRITE, shares.write(10, b"two")).ask(CLOSE, shares.close())
    assert file_of(share) == (b"a.txt", b"onetwo", "TRUNCATED")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_of_a_read_with_a_hole_the_file_has_what_came(step: int) -> None:
    share = logged(Share().tree())
    before = share.parser.connection.shared.pool.held
    share.open().ask(READ, shares.read(0, 100))
    answer = netbios(second(READ, shares.was_read(bytes(range(100))), answer=True, message_id=share.asked))
    for at in range(0, len(answer) - 60, step):
        share.wire.server(answer[at : min(at + step, len(answer) - 60)])
    share.wire.server(answer[-20:-10], gap=40).server(answer[-5:], gap=5)
    share.ask(CLOSE, shares.close()).answer(CLOSE, b"")
    assert file_of(share) == (b"a.txt", bytes((*range(40), *range(80, 90), *range(95, 100))), "TRUNCATED")
    assert share.events[-2]["command"] == "SMB2_COMMAND_READ"
    assert share.parser.connection.shared.pool.held == before, "the tree"


def test_of_a_write_with_a_hole_the_file_has_what_came() -> None:
    share = logged(Share().tree().open())
    message = netbios(second(WRITE, shares.write(0, b"0123456789"), message_id=9))
    share.wire.client(message[:-6]).client(b"9" + netbios(second(CLOSE, shares.close(), message_id=10)), gap=5)
    assert file_of(share) == (b"a.txt", b"01239", "TRUNCATED")


def test_pieces_that_overlap_are_odd() -> None:
    share = logged(Share().tree().open())
    share.ask(WRITE, shares.write(0, b"one")).ask(WRITE, shares.write(1, b"netwo")).ask(CLOSE, shares.close())
    assert file_of(share)[1] == b"onetwo"
    assert [tx.direction for tx in share.seen if ODDITY in tx.buffers] == [CLIENT, SERVER], "as Suricata has it"


def oddities(share: Share) -> list[bytes]:
    """Return what is odd about exchanges, each once."""
    return list(dict.fromkeys(odd for tx in share.seen for odd in tx.instances(ODDITY)))


@pytest.mark.parametrize("reads", [False, True])
def test_too_many_pieces_before_those_in_front_of_them_are_odd(reads: bool) -> None:
    share = logged(Share().tree().open())
    for number in range(MAX_QUEUED + 6):
        if number == MAX_QUEUED:
            assert not oddities(share)
        if reads:
            share.ask(READ, shares.read(100 + 20 * number, 10)).answer(READ, shares.was_read(bytes(10)))
        else:
            share.ask(WRITE, shares.write(100 + 20 * number, bytes(10)))
    assert oddities(share) == [b"smb.read_queue_cnt_exceeded" if reads else b"smb.write_queue_cnt_exceeded"]
    noted = [tx.direction for tx in share.seen if tx.instances(ODDITY)]
    assert noted == [SERVER if reads else CLIENT], "once a file"


@pytest.mark.parametrize("reads", [False, True])
def test_too_much_of_them_is_odd(reads: bool) -> None:
    share = logged(Share(queued_bytes=65536).tree().open())
    for offset in (100, 50_000):
        assert not oddities(share)
        if reads:
            share.ask(READ, shares.read(offset, 40_000)).answer(READ, shares.was_read(bytes(40_000)))
        else:
            share.ask(WRITE, shares.write(offset, bytes(40_000)))
    assert oddities(share) == [b"smb.read_queue_size_exceeded" if reads else b"smb.write_queue_size_exceeded"]


def test_too_many_requests_without_an_answer_are_odd_once() -> None:
    share = Share(open_requests=16).tree()
    for _ in range(16):
        share.ask(CREATE, shares.create("b"))
    assert not oddities(share)
    for _ in range(10):
        share.ask(CREATE, shares.create("b"))
    assert [odd for tx in share.seen for odd in tx.instances(ODDITY)] == [b"smb.too_many_transactions"]


def test_a_compound_is_about_the_file_that_it_opens() -> None:
    share = logged(Share().tree())
    asked = compound(
        second(CREATE, shares.create("b.exe"), message_id=8),
        second(WRITE, shares.write(0, b"MZ", SAME), message_id=9, related=True, tree=0, session=0),
        second(CLOSE, shares.close(SAME), message_id=10, related=True, tree=0, session=0),
    )
    share.wire.client(netbios(asked))
    assert file_of(share) == (b"b.exe", b"MZ", "CLOSED")
    answers = compound(
        second(CREATE, shares.created(), message_id=8, answer=True),
        second(WRITE, shares.was_written(2), message_id=9, answer=True),
        second(CLOSE, b"", message_id=10, answer=True),
    )
    share.wire.server(netbios(answers))
    assert [event["command"][13:] for event in share.events[-3:]] == ["WRITE", "CREATE", "CLOSE"]


def test_a_server_that_asks_for_time_answers_later() -> None:
    share = Share().tree().ask(CREATE, shares.create("slow")).answer(CREATE, b"", status=PENDING)
    assert len(share.events) == 1
    share.answer(CREATE, b"", status=DENIED)
    assert share.events[-1]["status"] == "STATUS_ACCESS_DENIED"


def test_requests_without_answer_are_logged_at_the_end() -> None:
    share = Share().tree().ask(CREATE, shares.create("x"))
    share.wire.close()
    assert "status" not in share.events[-1]
    assert share.events[-1]["filename"] == "x"


# Calls through pipes.


def pipe(name: str = "svcctl") -> Share:
    """Return a connection with an open pipe."""
    return Share().tree(PIPES, 2).open(name)


def test_calls_through_a_pipe() -> None:
    share = pipe()
    share.ask(WRITE, shares.write(0, calls.bind((0, calls.SVCCTL, 2)))).answer(WRITE, shares.was_written(72))
    share.ask(READ, shares.read(0, 1024)).answer(READ, shares.was_read(calls.bind_ack(0)))
    bound = share.events[-1]
    share.ask(IOCTL, shares.control(TRANSCEIVE, calls.request(15, b"data", call_id=2)))
    asked = share.last
    share.answer(IOCTL, shares.controlled(TRANSCEIVE, calls.response(b"answer", call_id=2)))
    assert bound["command"] == "SMB2_COMMAND_WRITE"
    assert bound["dcerpc"] == {
        "request": "BIND", "response": "BINDACK", "call_id": 1,
        "interfaces": [{"uuid": calls.SVCCTL, "version": "2.0", "ack_result": 0, "ack_reason": 0}],
    }  # fmt: skip
    assert asked.buffers["dcerpc.iface"] == f"{calls.SVCCTL} 2".encode()
    assert (asked.buffers["dcerpc.opnum"], asked.buffers["dcerpc.stub_data"]) == (b"15", b"data")
    assert share.last.buffers["dcerpc.stub_data"] == b"answer"
    called = share.events[-1]
    assert called["dcerpc"]["req"] == {"frag_cnt": 1, "stub_data_size": 4}
    assert (called["command"], called["status"]) == ("SMB2_COMMAND_IOCTL", "STATUS_SUCCESS")


def test_reads_and_writes_may_cut_a_call_anywhere() -> None:
    share = pipe()
    asked, answered = calls.bind((0, calls.SVCCTL, 2)), calls.bind_ack(0)
    share.ask(WRITE, shares.write(0, asked[:20])).ask(WRITE, shares.write(20, asked[20:]))
    share.ask(READ, shares.read(0, 30)).answer(READ, shares.was_read(answered[:30]), status=shares.OVERFLOW)
    share.ask(READ, shares.read(0, 99)).answer(READ, shares.was_read(answered[30:]))
    assert share.events[-1]["dcerpc"]["response"] == "BINDACK"


def test_a_pipe_whose_opening_was_not_seen_is_known_by_what_it_carries() -> None:
    share = Share().ask(WRITE, shares.write(0, calls.request(3, b"x")))
    assert share.last.buffers["dcerpc.opnum"] == b"3"


def test_calls_through_pipes_that_suricata_does_not_know_are_open_to_rules() -> None:
    share = pipe("wkssvc").ask(WRITE, shares.write(0, calls.request(3, b"x")))
    assert share.last.buffers["dcerpc.opnum"] == b"3"
    share.wire.close()
    assert not any("dcerpc" in event for event in share.events)


def test_a_call_that_the_server_refuses_ends() -> None:
    share = pipe().ask(IOCTL, shares.control(TRANSCEIVE, calls.request(1, b"x")))
    share.answer(IOCTL, b"", status=DENIED)
    assert share.events[-1]["dcerpc"]["response"] == "UNREPLIED"
    assert share.events[-1]["status"] == "STATUS_ACCESS_DENIED"


# SMB 1.


def one(*messages: tuple[Direction, bytes]) -> Wire:
    wire = Wire()
    for side, message in messages:
        wire.send(side, netbios(message))
    return wire


def events_of(wire: Wire) -> list[dict[str, Any]]:
    return [dict(tx.fields) for tx in wire.seen if tx.complete]


OFFER = shares.first(0x72, b"", b"\2NT LM 0.12\0\2SMB 2.???\0", tree=0, user=0)


def test_an_offer_of_smb_1_may_be_answered_in_either_version() -> None:
    old = shares.first(0x72, pack("<H", 0) + bytes(32), GUID, answer=True)
    (event,) = events_of(one((CLIENT, OFFER), (SERVER, old)))
    assert (event["dialect"], event["client_dialects"]) == ("NT LM 0.12", ["NT LM 0.12", "SMB 2.???"])
    new = second(NEGOTIATE, shares.negotiated(0x02FF), answer=True, message_id=0)
    (event,) = events_of(one((CLIENT, OFFER), (SERVER, new)))
    assert (event["command"], event["dialect"]) == ("SMB1_COMMAND_NEGOTIATE_PROTOCOL", "2.??")


def test_commands_stand_behind_one_another() -> None:
    token, path = shares.logon("Bob", "D"), "\\\\srv\\IPC$"
    words = pack("<BBHHHHIHII", 0x75, 0, 0, 4096, 1, 0, 0, len(token), 0, 0)
    strings = "".join(f"{name}\0" for name in ("Unix", "Samba"))
    at = 32 + 1 + 24 + 2 + len(token)
    block = token + bytes(at % 2) + shares.utf16(strings)
    end = 32 + 1 + 24 + 2 + len(block)
    words = words[:2] + pack("<H", end) + words[4:]
    tree_at = end + 1 + 8 + 2 + 1
    tree = bytes((4,)) + ALONE + pack("<HH", 0, 1) + pack("<H", 40) + b"\0" + bytes(tree_at % 2)
    tree += shares.utf16(path + "\0") + b"?????\0"
    asked, connecting = one((CLIENT, shares.first(0x73, words, block + tree, count=len(block)))).seen
    assert asked.buffers["smb.ntlmssp_user"] == b"Bob"
    assert asked.fields["request"] == {"native_os": "Unix", "native_lm": "Samba"}
    assert connecting.buffers["smb.named_pipe"] == b"\\srv\\IPC$", "without the first backslash, as Suricata has it"


def test_a_file_of_smb_1() -> None:
    opened = ((CLIENT, shares.create1("\\eicar")), (SERVER, shares.created1(0x4000)))
    wire = one(*opened)
    wire.stage.files.want(None, logged=True)
    for message in (shares.write1(0x4000, 0, b"X5O!"), shares.write1(0x4000, 4, b"P%@AP"),
                    shares.first(0x04, pack("<HI", 0x4000, 0), b"")):  # fmt: skip
        wire.client(netbios(message))
    ((file,), _) = wire.stage.files.take()
    assert (file.name, file.content, file.state.name) == (b"\\eicar", b"X5O!P%@AP", "CLOSED")
    wire.client(netbios(shares.read1(0x4000, 0, 10))).server(netbios(shares.was_read1(b"data"))).close()
    assert [event["command"][13:] for event in events_of(wire)][:2] == ["NT_CREATE_ANDX", "WRITE_ANDX"]
    ((file,), _) = wire.stage.files.take()
    assert (file.content, file.state.name) == (b"data", "TRUNCATED"), "it was not closed"


def test_transactions_carry_calls() -> None:
    wire = one(
        (CLIENT, shares.create1("\\lsarpc")), (SERVER, shares.created1(0x4000)),
        (CLIENT, shares.transact(0x4000, calls.request(9, b"data"))),
        (SERVER, shares.transacted(calls.response(b"answer"))),
    )  # fmt: skip
    assert events_of(wire)[-1]["dcerpc"]["opnum"] == 9
    assert wire.seen[-2].buffers["dcerpc.stub_data"] == b"data"


def test_errors_of_dos_are_named() -> None:
    echo = shares.first(0x2B, b"\1\0", b"x")
    refused = shares.first(0x2B, b"\1\0", b"", answer=True, nt_status=False, status=2 | 1 << 16)
    (event,) = events_of(one((CLIENT, echo), (SERVER, refused)))
    assert (event["status"], event["status_code"]) == ("SRV_ERROR", "0x0001")


def test_a_session_of_netbios_comes_first() -> None:
    name = bytes((32,)) + b"CA" * 16 + b"\0"
    wire = Wire().client(netbios(name * 2, 0x81)).server(netbios(b"", 0x82)).client(netbios(OFFER))
    assert wire.flow.app_proto == "smb"
    assert wire.seen[-1].buffers["smb.version"] == b"1"


# Encryption, holes, bounds and hostile messages.


def test_encrypted_messages_end_what_can_be_read() -> None:
    hidden = netbios(b"\xfdSMB" + bytes(60))
    share = Share().tree()
    parser = share.parser
    share.wire.client(hidden * 2).server(hidden)
    after_one = parser.settled
    share.wire.server(hidden)
    after_two = parser.settled
    share.ask(CREATE, shares.create("clear"))
    assert (after_one, after_two) == (False, True), "one of a side could be forged"
    assert not parser.settled, "a session in the clear is still read"
    assert share.wire.counters["smb.encrypted"] == 4


def test_behind_missing_bytes_the_next_message_is_found() -> None:
    share = Share().tree()
    share.wire.client(netbios(second(WRITE, shares.write(0, bytes(500))))[:100]).client(b"", gap=5000)
    share.wire.client(b"rest of it" + netbios(second(CREATE, shares.create("seen.exe"), message_id=20)))
    assert share.last.buffers["smb.filename"] == b"seen.exe"


def test_what_is_kept_is_bounded() -> None:
    share = Share(open_requests=16, open_files=16, open_trees=4, messages_compounded=16).tree()
    for number in range(40):
        share.ask(CREATE, shares.create("a"))
        share.answer(CREATE, shares.created(file_id=number.to_bytes(16, "big")))
        share.ask(CONNECT, shares.connect(SHARE)).answer(CONNECT, shares.connected(1), tree=number)
    connection = share.parser.connection
    assert (len(connection.opens), len(connection.trees)) == (16, 4)
    for _ in range(40):
        share.ask(CREATE, shares.create("b"))
    assert len(connection.waiting) == 16
    counters = share.wire.counters
    assert [counters["smb.files_evicted"], counters["smb.trees_evicted"]] == [24, 37]
    share.wire.client(netbios(compound(*[second(CLOSE, shares.close()) for _ in range(40)])))
    assert counters["smb.too_many_compounded"] == 1
    assert counters["smb.requests_evicted"] > 0


def test_pieces_that_wait_are_bounded() -> None:
    share = logged(Share(queued_bytes=65536).tree())
    before = share.parser.connection.shared.pool.held
    share.open()
    for number in range(200):
        share.ask(WRITE, shares.write(1000 * number + 500, bytes(100)))
    parser = share.parser
    assert parser.connection.shared.pool.held <= 65536 + 4096
    share.ask(CLOSE, shares.close()).answer(CLOSE, b"")
    assert parser.connection.shared.pool.held == before, "the tree"
    assert file_of(share)[2] == "TRUNCATED"


def test_nothing_is_held_of_flows_that_are_let_go() -> None:
    share = pipe().ask(WRITE, shares.write(0, calls.request(1, bytes(200), flags=1)))
    share.open("f", file_id=bytes(16)).ask(WRITE, shares.write(9, b"queued", bytes(16)))
    share.wire.client(netbios(second(WRITE, shares.write(0, bytes(100))))[:90])
    parser = share.parser
    pool, files = parser.connection.shared.pool, parser.connection.shared.files
    parser.release()
    assert (pool.held, files.held) == (0, 0)


def test_a_read_that_is_answered_after_the_close_is_a_file_and_is_given_back() -> None:
    share = logged(Share().tree().open())
    share.ask(READ, shares.read(0, 100))
    share.wire.client(netbios(second(CLOSE, shares.close(), message_id=90)))
    share.wire.server(netbios(second(CLOSE, bytes(60), message_id=90, answer=True)))
    share.answer(READ, shares.was_read(b"late"))
    parser = share.parser
    files = parser.connection.shared.files
    assert [opened.name for opened in parser.connection.opens.values()] == [b"a.txt"]
    assert files.held > 0
    parser.release()
    assert files.held == 0


def test_files_that_are_answered_about_too_late_are_bounded() -> None:
    share = Share(open_files=16).tree()
    for number in range(40):
        file_id = number.to_bytes(16, "big")
        share.open("f", file_id=file_id).ask(READ, shares.read(0, 100, file_id))
        share.wire.client(netbios(second(CLOSE, shares.close(file_id), message_id=900 + number)))
        share.wire.server(netbios(second(CLOSE, bytes(60), message_id=900 + number, answer=True)))
        share.answer(READ, shares.was_read(b"late"))
    parser = share.parser
    assert len(parser.connection.opens) == 16
    parser.release()
    assert parser.connection.shared.files.held == 0


@pytest.mark.parametrize(
    "message",
    [
        second(CREATE, b"short"), second(CONNECT, b""), second(NEGOTIATE, b""), second(CLOSE, b"\0"),
        second(READ, b""), second(WRITE, b""), second(IOCTL, b""), b"\xfeSMB" + bytes(20),
        shares.first(0xA2, ALONE, b""), shares.first(0x25, b"", b""), b"\xffSMB",
        compound(second(shares.LOGOFF, b""), b"\xfeSMB"),
    ],
)  # fmt: skip
def test_what_is_cut_off_is_odd(message: bytes) -> None:
    share = Share().tree()
    share.wire.client(netbios(message))
    assert b"smb.malformed_data" in share.last.instances(ODDITY)
    assert not share.wire.counters["app_layer.error.smb.internal"]


SPOKEN = (
    (CLIENT, netbios(second(NEGOTIATE, shares.negotiate(0x0210)))),
    (SERVER, netbios(second(NEGOTIATE, shares.negotiated(0x0210), answer=True))),
    (CLIENT, netbios(second(CONNECT, shares.connect(PIPES), message_id=2))),
    (SERVER, netbios(second(CONNECT, shares.connected(2), message_id=2, answer=True))),
    (CLIENT, netbios(second(CREATE, shares.create("srvsvc"), message_id=3))),
    (SERVER, netbios(second(CREATE, shares.created(), message_id=3, answer=True))),
    (CLIENT, netbios(second(IOCTL, shares.control(TRANSCEIVE, calls.request(1, b"x")), message_id=4))),
    (SERVER, netbios(second(IOCTL, shares.controlled(TRANSCEIVE, calls.response(b"y")), message_id=4, answer=True))),
    (CLIENT, netbios(second(WRITE, shares.write(4, b"late", bytes(16)), message_id=5, tree=6))),
    (CLIENT, netbios(second(WRITE, shares.write(0, b"data", bytes(16)), message_id=6, tree=6))),
    (CLIENT, netbios(second(CLOSE, shares.close(bytes(16)), message_id=7, tree=6))),
    (CLIENT, netbios(shares.create1("one")) + netbios(shares.transact(7, calls.bind((0, calls.SRVSVC, 3))))),
)


@given(st.integers(1, 90))
def test_how_the_streams_are_cut_changes_nothing(step: int) -> None:
    whole, cut = Wire(), Wire()
    for side, data in SPOKEN:
        whole.send(side, data)
        cut.send(side, data, step=step)
    assert [row for row in cut.what() if row[4]] == [row for row in whole.what() if row[4]]


@given(st.lists(st.tuples(st.integers(0, len(SPOKEN) - 1), st.integers(0, 300), st.binary(max_size=12)), max_size=12))
def test_nothing_raises(changes: list[tuple[int, int, bytes]]) -> None:
    wire = Wire()
    for number, at, data in changes:
        side, message = SPOKEN[number]
        wire.send(side, message[:at] + data + message[at + len(data) :])
    for transaction in wire.close().all:
        dict(transaction.buffers), dict(transaction.fields)
    assert not wire.counters["app_layer.error.smb.internal"]


# Rules and events.

CONVERSATION: tuple[Any, ...] = (
    netbios(second(SETUP, shares.setup(shares.logon("Alice", "CORP")), message_id=1, tree=0)),
    to_client(netbios(second(SETUP, shares.was_set_up(), message_id=1, answer=True, tree=0))),
    netbios(second(CONNECT, shares.connect(SHARE), message_id=2, tree=0)),
    to_client(netbios(second(CONNECT, shares.connected(1), message_id=2, answer=True))),
    netbios(second(CREATE, shares.create("x.exe"), message_id=3)),
    to_client(netbios(second(CREATE, shares.created(), message_id=3, answer=True))),
    netbios(second(WRITE, shares.write(0, b"MZ virus"), message_id=4)),
    to_client(netbios(second(WRITE, shares.was_written(8), message_id=4, answer=True))),
    netbios(second(CLOSE, shares.close(), message_id=5)),
    to_client(netbios(second(CLOSE, bytes(60), message_id=5, answer=True))),
)


@pytest.mark.parametrize(
    ("options", "alerts"),
    [
        ('smb.share; content:"data";', 1),
        ('smb_share; content:"other";', 0),
        ('smb.named_pipe; content:"data";', 0),
        ('smb.ntlmssp_user; content:"Alice";', 1),
        ('smb.ntlmssp_domain; content:"CORP"; bsize:4;', 1),
        ('file.data; content:"virus";', 1),
        ('file.name; content:".exe"; endswith;', 1),
        ('filename:"x.exe";', 1),
        ("smb.version:2; flow:to_server; smb.filename; content:\"x.exe\";", 2),
        ('smb.command; content:"SMB2_COMMAND_TREE_CONNECT"; flow:to_server;', 1),
        ('smb.status; content:"STATUS_SUCCESS"; flow:to_client;', 5),
        ("app-layer-event:smb.malformed_data;", 0),
    ],
)  # fmt: skip
def test_rules_of_suricata(options: str, alerts: int, tmp_path: Path) -> None:
    path = tmp_path / "s.rules"
    path.write_text(f'alert smb any any -> any any (msg:"m"; {options} sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(*CONVERSATION, dport=4450)
    assert len(session.alerts) == alerts


def test_events_and_alerts_fit_the_schema(tmp_path: Path) -> None:
    validator = event_validator()
    path = tmp_path / "s.rules"
    path.write_text('alert smb any any -> any any (msg:"m"; smb.share; content:"data"; sid:1;)\n')
    session = Session(f"rules.paths=[{path}]", rules=Rules())
    session.tcp(*CONVERSATION, dport=445)
    session.end()
    found = [event for event in session.events if "smb" in event]
    assert [event["event_type"] for event in found].count("smb") == 5
    for event in found:
        validator.validate({key: value for key, value in event.items() if key != "ids"})


def test_no_more_of_a_name_is_kept_than_paths_have() -> None:
    share = Share().tree().ask(CREATE, shares.create("a" * 30_000))
    assert len(share.last.buffers["smb.filename"]) == 4096


def test_two_exchanges_are_never_the_same_whatever_they_say() -> None:
    """A message of many calls is read in one pass: each is told from the others without a look at what it says."""
    one, other = (Exchange(0, 2, 9, 1, 1) for _ in range(2))
    assert one != other
