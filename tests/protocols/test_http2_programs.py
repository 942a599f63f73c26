"""HTTP/2 as real programs speak it: curl, nghttp and h2load with nginx, nghttpd and nghttpx, in a namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ids.types import Direction
from tests.protocols.played import FILE, OTHER, PLAYS, said
from tests.protocols.wire import Wire
from tests.shared import ROOT

TOOLS = ("unshare", "ip", "curl", "nginx", "nghttp", "nghttpd", "nghttpx", "h2load")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conversations, each in a file."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace")
    directory = tmp_path_factory.mktemp("played")
    command = f"ip link set lo up && exec {sys.executable} -m tests.protocols.played {directory}"
    subprocess.run(["unshare", "--net", "sh", "-c", command], cwd=ROOT, check=True, timeout=240)
    return directory


def replayed(played: Path, name: str) -> Wire:
    wire = Wire()
    for side, data in said(played / f"{name}.said"):
        wire.send(Direction(side), data)
    wire.close()
    assert wire.counters["app_layer.error.http2.internal"] == 0
    assert wire.flow.app_proto == "http2", (played / f"{name}.out").read_bytes()[:500]
    return wire


def exchanges(wire: Wire) -> list[tuple[str, int]]:
    """Return target and status of each exchange that is complete."""
    found = [dict(one.fields) for one in wire.seen if one.complete and one.protocol == "http2"]
    return sorted((one["url"], one["status"]) for one in found if "url" in one)


def contents(wire: Wire, name: str) -> list[bytes]:
    return [one for found in wire.seen for one in found.instances(name)]


@pytest.mark.parametrize("name", PLAYS)
def test_nothing_is_odd_about_any(played: Path, name: str) -> None:
    wire = replayed(played, name)
    assert contents(wire, "app-layer-event") == []
    left = {key: n for key, n in wire.counters.values.items() if key.startswith("http2.") and n}
    assert left == {}


def test_a_request_of_curl(played: Path) -> None:
    wire = replayed(played, "curl")
    assert exchanges(wire) == [("/file.txt?a=1", 200)]
    assert contents(wire, "http.user_agent") == [b"${jndi:ldap://x}"]
    assert contents(wire, "http.host.raw") == [b"127.0.0.1:8070"]
    assert contents(wire, "file.data") == [FILE]


def test_what_curl_posts(played: Path) -> None:
    wire = replayed(played, "post")
    assert contents(wire, "http.request_body") == [b"name=attack"]
    assert exchanges(wire) == [("/post", 200)]
    assert contents(wire, "http.response_body") == [b"name=attack"]


def test_a_body_that_nginx_compresses(played: Path) -> None:
    assert contents(replayed(played, "gzip"), "file.data") == [FILE]


def test_an_upgrade_of_curl(played: Path) -> None:
    wire = replayed(played, "upgrade")
    assert exchanges(wire) == [("/file.txt", 200), ("/other.txt", 200)]
    assert contents(wire, "file.data") == [FILE, OTHER]


def test_an_upgrade_of_nghttp(played: Path) -> None:
    wire = replayed(played, "nghttp-upgrade")
    assert ("/file.txt", 200) in exchanges(wire)
    assert FILE in contents(wire, "file.data")


def test_streams_of_nghttp_with_priorities_and_what_nginx_pushes(played: Path) -> None:
    wire = replayed(played, "nghttp")
    assert {("/file.txt", 200), ("/other.txt", 200), ("/push", 200)} <= set(exchanges(wire))
    assert contents(wire, "http2.priority")


def test_padding_and_continuations(played: Path) -> None:
    wire = replayed(played, "padded")
    assert exchanges(wire) == [("/file.txt", 200)]
    assert b"x-long: " + b"y" * 3000 in contents(wire, "http2.header")
    assert b"9" in contents(wire, "http2.frametype")
    assert contents(wire, "file.data") == [FILE]


def test_many_streams_of_h2load(played: Path) -> None:
    wire = replayed(played, "h2load")
    assert exchanges(wire) == [("/file.txt", 200)] * 200
    assert contents(wire, "file.data") == [FILE] * 200
