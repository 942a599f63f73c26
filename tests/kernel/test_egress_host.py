"""A host with one interface, the engine on it, a client across the wire: both directions are seen, and none is left."""

from __future__ import annotations

import errno
import functools
import http.server
import json
import signal
import socket
import struct
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
from ids.kernel import FastPath, syscall
from ids.kernel.fastpath import remove_pins
from ids.kernel.maps import Map
from ids.kernel.netlink import query_xdp
from ids.lab.namespace import Namespace
from tests.kernel.conftest import settings
from tests.kernel.gate import wait_until
from tests.kernel.test_lifecycle import PORT, Veth, inside

pytestmark = [pytest.mark.root, pytest.mark.xdp]
ROOT = Path(__file__).resolve().parents[2]
MAIN = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from ids.cli import main; main()"
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
        connection = socket.create_connection(("192.0.2.1", PORT), 5)
    with connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: host.example\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(1 << 16):
            answer += part
    return answer


@contextmanager
def engine(namespace: str, folder: Path, pins: Path) -> Iterator[Any]:
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
        "engine": {"runtime_dir": str(folder / "run")},
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
        return [json.loads(line) for line in (folder / "eve.json").read_text().splitlines()]

    with inside(namespace), log.open("wb") as out:
        running = subprocess.Popen(
            [sys.executable, "-c", MAIN, "run", "-c", str(config), "--ready-file", str(ready)], stdout=out, stderr=out
        )
    try:
        assert wait_until(lambda: ready.exists() or running.poll() is not None, 60)
        assert running.poll() is None, log.read_text()
        assert "seeing what this host sends through wire0" in log.read_text()
        yield events
    finally:
        running.send_signal(signal.SIGTERM)
        running.wait(20)


def test_replies_are_inspected_and_their_handshakes_prove_the_client(bpffs: Path, veth: Veth, tmp_path: Path) -> None:
    namespace, interface, peer = veth
    Namespace(peer).switch_offloads_off(f"{namespace}o"[:15])
    with server(namespace, tmp_path):
        with engine(namespace, tmp_path, bpffs) as events:
            assert fetch(peer, "/page").endswith(PAGE)
            assert b" 404 " in fetch(peer, "/nothing")

            def alerted() -> set[int]:
                return {event["alert"]["signature_id"] for event in events() if event["event_type"] == "alert"}

            assert wait_until(lambda: alerted() == {1, 2}), events()
            pages = [event["http"] for event in events() if event["event_type"] == "http"]
            assert {(page["url"], page["status"]) for page in pages} == {("/page", 200), ("/nothing", 404)}
            proven = Map.open_pin(str(bpffs / "host" / "ids_proven4"), "ids_proven4")
            assert proven is not None
            with proven:
                assert list(proven) == [socket.inet_aton("192.0.2.2")]
        assert (bpffs / "host" / f"egress_{interface}").exists(), "on_stop: keep"
        assert remove_pins(bpffs / "host")
        with inside(namespace):
            assert query_xdp(interface).program_id == 0
        assert attached(namespace, interface) == 0
        assert fetch(peer, "/page").endswith(PAGE)


def attached(namespace: str, interface: str) -> int:
    """Return the number of TCX programs at an interface's egress (BPF_PROG_QUERY; ``bpftool net`` is often too old)."""
    with inside(namespace):
        query = struct.pack("=IIIIQII", socket.if_nametoindex(interface), syscall.ATTACH_TCX_EGRESS, 0, 0, 0, 0, 0)
        _, answer = syscall.call(syscall.Command.PROG_QUERY, query)
    return int(struct.unpack_from("=I", answer, 24)[0])


def test_an_heir_takes_the_egress_over_and_leaves_nothing(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    first = FastPath.open(settings(bpffs), "heir")
    with inside(namespace):
        first.attach(interface)
        assert first.view_egress([interface]) == [interface]
    first.close("keep")
    heir = FastPath.open(settings(bpffs), "heir")
    with inside(namespace):
        heir.attach(interface)
        assert heir.view_egress([interface]) == [interface]
    assert attached(namespace, interface) == 1, "taken over, not added to"
    assert heir.egress.attached() == [interface]
    heir.close("detach")
    assert attached(namespace, interface) == 0
    remove_pins(bpffs / "heir")


@pytest.mark.parametrize(
    ("choice", "interfaces", "viewed"),
    [("auto", 1, 1), ("auto", 2, 2), ("on", 2, 2), ("off", 1, 0)],
)
def test_the_replies_of_this_host_are_seen_unless_that_is_switched_off(
    bpffs: Path, veth: Veth, choice: str, interfaces: int, viewed: int
) -> None:
    namespace, interface, _ = veth
    fastpath = FastPath.open(settings(bpffs, egress=choice), "choice")
    names = [interface, "lo"][:interfaces]
    try:
        with inside(namespace):
            assert fastpath.view_egress(names) == names[:viewed]
        assert attached(namespace, interface) == bool(viewed)
    finally:
        fastpath.close("remove")


def test_what_is_no_longer_wanted_is_taken_off(bpffs: Path, veth: Veth) -> None:
    namespace, interface, _ = veth
    killed = FastPath.open(settings(bpffs), "changed")
    with inside(namespace):
        killed.view_egress([interface])
    killed.close("keep")
    heir = FastPath.open(settings(bpffs, egress="off"), "changed")
    try:
        with inside(namespace):
            assert heir.view_egress([interface]) == []
        assert attached(namespace, interface) == 0
    finally:
        heir.close("remove")


def test_a_kernel_without_tcx_says_what_is_not_seen(bpffs: Path, veth: Veth, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    namespace, interface, _ = veth
    fastpath = FastPath.open(settings(bpffs), "older")
    monkeypatch.setattr(syscall, "link_create", refuse)
    try:
        with inside(namespace), pytest.raises(KernelError, match=r"cannot see what leaves.*Linux 6\.6"):
            fastpath.view_egress([interface])
    finally:
        fastpath.close("remove")
