"""A host with one interface, the engine on it, a client across the wire: both directions are seen, and none is left.

By a TCX link, and by a filter where the kernel has no TCX.
"""

from __future__ import annotations

import functools
import http.server
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ids.errors import KernelError
from ids.kernel import FastPath
from ids.kernel.attach.egress import EgressView
from ids.kernel.instance import remove_pins
from ids.kernel.maps.table import Map
from ids.kernel.system.netlink import query_xdp
from ids.lab.namespace import Namespace
from tests.kernel.conftest import settings
from tests.kernel.exits import KINDS, Exits
from tests.kernel.gate import PATIENCE_S, wait_until
from tests.kernel.test_lifecycle import PORT, Veth, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp, pytest.mark.usefixtures("without_challenges")]
ROOT = Path(__file__).resolve().parents[2]
MAIN = "import sys; sys.path.insert(0, {root!r}); {before}; from ids.cli import main; main()"
RULE = """
required_engine_version: 0.1.0
rules:
  - title: {title}
    id: 003e5634-90b3-41ef-97ba-{sid:012}
    sid: {sid}
    rev: 1
    status: stable
    level: critical
    description: A rule of the tests.
    author: the project
    date: 2026-11-21
    references: ['https://www.rfc-editor.org/rfc/rfc9110']
    tags: [attack.t1083]
    falsepositives: [none]
    classtype: misc-activity
    traffic: http any any -> any any
    flow: [established, to_client]
    match:
      - {match}
    then: alert
"""
FAR = 70_000
"""Bytes of the page before the word that a rule looks for: more than one segment of the stack holds."""
PAGE = b"." * FAR + b"the-crown-jewels" + b"." * 1000


@contextmanager
def server(namespace: str, folder: Path) -> Iterator[None]:
    (folder / "page").write_bytes(PAGE)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with inside(namespace):
        running = http.server.ThreadingHTTPServer(("192.0.2.1", PORT), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=running.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def fetch(namespace: str, path: str) -> bytes:
    """Fetch a page from the host's server; return the whole response."""
    with inside(namespace):
        connection = socket.create_connection(("192.0.2.1", PORT), PATIENCE_S)
    with connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: host.example\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer


@pytest.fixture(params=KINDS)
def exits(request: pytest.FixtureRequest, veth: Veth, monkeypatch: pytest.MonkeyPatch) -> Exits:
    """The ways out of the namespace, seen by either kind of attachment."""
    return Exits.of_kind(request.param, *veth[:2], monkeypatch)


@contextmanager
def engine(namespace: str, folder: Path, pins: Path, before: str) -> Iterator[Any]:
    """`ids run` on the namespace's only interface; yields how to read its events. It leaves the gate on."""
    rules = folder / "rules.yaml"
    rules.write_text(
        RULE.format(
            title="A page that was not to leave", sid=1, match="http.response_body: {contains: the-crown-jewels}"
        )
        + RULE.format(title="Not found", sid=2, match="http.stat_code: {equals: '404'}").split("rules:\n")[1]
    )
    document = {
        "instance": "host",
        "interfaces": ["wire0"],
        "engine": {"runtime_dir": str(folder / "run"), "state_dir": str(folder / "state")},
        "fastpath": {"pin_dir": str(pins), "on_stop": "keep"},
        "rules": {"paths": [str(rules)]},
        "eve": {"path": str(folder / "eve.json")},
        "respond": {"mode": "shadow"},
    }
    config = folder / "ids.yaml"
    config.write_text(yaml.safe_dump(document))
    log = folder / "log"
    ready = folder / "ready"

    def events() -> list[dict[str, Any]]:
        whole, _, _ = (folder / "eve.json").read_text().rpartition("\n")  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines()]

    main = MAIN.format(root=str(ROOT), before=before)
    with inside(namespace), log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-c", main, "run", "-c", str(config), "--ready-file", str(ready)], stdout=out, stderr=out
        )
    try:
        assert wait_until(lambda: ready.exists() or running.poll() is not None, 180)
        assert running.poll() is None, log.read_text()
        assert "seeing what this host sends through wire0" in log.read_text()
        yield events
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(PATIENCE_S)


def test_replies_are_inspected_and_their_handshakes_prove_the_client(
    bpffs: Path, veth: Veth, exits: Exits, tmp_path: Path
) -> None:
    namespace, interface, peer = veth
    Namespace(peer).switch_offloads_off(f"{namespace}o"[:15])
    with server(namespace, tmp_path):
        with engine(namespace, tmp_path, bpffs, exits.before) as events:
            assert fetch(peer, "/page").endswith(PAGE)
            assert b" 404 " in fetch(peer, "/nothing")

            def alerted() -> set[int]:
                return {event["alert"]["signature_id"] for event in events() if event["event_type"] == "alert"}

            assert wait_until(lambda: alerted() == {1, 2}), events()

            def pages() -> set[tuple[str, int]]:
                seen = [event["http"] for event in events() if event["event_type"] == "http"]
                return {(page["url"], page["status"]) for page in seen}

            assert wait_until(lambda: pages() == {("/page", 200), ("/nothing", 404)}), events()
            proven = Map.open_pin(str(bpffs / "host" / "ids_proven4"), "ids_proven4")
            assert proven is not None
            with proven:
                assert list(proven) == [socket.inet_aton("192.0.2.2")]
        assert (bpffs / "host" / exits.pin).exists(), "on_stop: keep"
        with inside(namespace):
            assert exits.pin in remove_pins(bpffs / "host")
            assert query_xdp(interface).program_id == 0
        assert exits.attached() == 0
        assert fetch(peer, "/page").endswith(PAGE)


def test_an_heir_takes_the_egress_over_and_leaves_nothing(bpffs: Path, veth: Veth, exits: Exits) -> None:
    namespace, interface, _ = veth
    with inside(namespace):
        first = FastPath.open(settings(bpffs), "heir")
        first.attach(interface)
        assert first.view_egress([interface]) == [interface]
        first.close("keep")
        before = exits.program_id()
        heir = FastPath.open(settings(bpffs), "heir")
        heir.attach(interface)
        assert heir.view_egress([interface]) == [interface]
        assert exits.attached() == 1, "taken over, not added to"
        assert exits.program_id() != before
        assert heir.egress.attached() == [interface]
        heir.close("detach")
        assert exits.attached() == 0
        assert exits.qdiscs() == []
        assert exits.pin not in remove_pins(bpffs / "heir")


def test_what_fails_while_it_is_prepared_fails_where_it_is_wanted(
    bpffs: Path, veth: Veth, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[bool] = []

    def refuse(_: EgressView, *, own_only: bool = False) -> int:
        loads.append(own_only)
        raise KernelError("the verifier refuses it")

    monkeypatch.setattr(EgressView, "load", refuse)
    namespace, interface, _ = veth
    with inside(namespace):
        opened = FastPath.open(settings(bpffs), "refused", interfaces=1)
        assert loads == [False], "it is loaded while the others are"
        opened.attach(interface)
        with pytest.raises(KernelError, match="the verifier refuses it"):
            opened.view_egress([interface])
        opened.close("remove")


@pytest.mark.parametrize(
    ("choice", "interfaces", "viewed"),
    [("auto", 1, 1), ("auto", 2, 2), ("on", 2, 2), ("off", 1, 0)],
)
def test_the_replies_of_this_host_are_seen_unless_that_is_switched_off(
    bpffs: Path, veth: Veth, exits: Exits, choice: str, interfaces: int, viewed: int
) -> None:
    namespace, interface, _ = veth
    names = [interface, "lo"][:interfaces]
    with inside(namespace):
        fastpath = FastPath.open(settings(bpffs, egress=choice), "choice")
        try:
            assert fastpath.view_egress(names) == names[:viewed]
            assert exits.attached() == bool(viewed)
        finally:
            fastpath.close("remove")


def test_what_is_no_longer_wanted_is_taken_off(bpffs: Path, veth: Veth, exits: Exits) -> None:
    namespace, interface, _ = veth
    with inside(namespace):
        killed = FastPath.open(settings(bpffs), "changed")
        killed.view_egress([interface])
        killed.close("keep")
        heir = FastPath.open(settings(bpffs, egress="off"), "changed")
        try:
            assert heir.view_egress([interface]) == []
            assert exits.attached() == 0
        finally:
            heir.close("remove")


def test_an_interface_that_has_gone_and_come_back_is_attached_anew(bpffs: Path, veth: Veth, exits: Exits) -> None:
    namespace, interface, _ = veth
    with inside(namespace):
        killed = FastPath.open(settings(bpffs), "gone")
        killed.view_egress([interface])
        killed.close("keep")
        subprocess.run(["ip", "link", "delete", interface], check=True)
        subprocess.run(["ip", "link", "add", interface, "type", "veth", "peer", "name", "other0"], check=True)
        heir = FastPath.open(settings(bpffs), "gone")
        try:
            heir.view_egress([interface])
            assert exits.attached() == 1
            subprocess.run(["ip", "link", "delete", interface], check=True)
            heir.detach(interface)
            assert heir.egress.attached() == []
        finally:
            heir.close("remove")
