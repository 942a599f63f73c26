"""SMB, DCE/RPC and Kerberos as real programs speak them: smbclient, rpcclient and kinit with smbd and krb5kdc."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ids.types import Direction
from tests.protocols.played import said
from tests.protocols.played_windows import CONTENT, PLAYS
from tests.protocols.wire import Wire
from tests.shared import ROOT

TOOLS = ("unshare", "ip", "smbd", "smbclient", "rpcclient", "krb5kdc", "kdb5_util", "kadmin.local", "kinit")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The conversations, each in a file."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("needs root, to make a network namespace")
    directory = tmp_path_factory.mktemp("played")
    command = f"ip link set lo up && exec {sys.executable} -m tests.protocols.played_windows {directory}"
    # smbd starts helpers that outlive it; they end with the namespace of their process numbers.
    apart = ["unshare", "--net", "--pid", "--fork", "--kill-child"]
    subprocess.run([*apart, "sh", "-c", command], cwd=ROOT, check=True, timeout=240)
    return directory


def replayed(played: Path, name: str) -> Wire:
    wire = Wire()
    wire.stage.files.want(None, logged=True)
    for side, data in said(played / f"{name}.said"):
        wire.send(Direction(side), data)
    wire.close()
    assert wire.flow.app_proto == ("krb5" if name == "kinit" else "smb"), (played / f"{name}.out").read_bytes()[:500]
    return wire


def events(wire: Wire) -> list[dict[str, Any]]:
    return [dict(one.fields) for one in wire.seen if one.complete]


@pytest.mark.parametrize("name", PLAYS)
def test_nothing_is_odd_about_any(played: Path, name: str) -> None:
    wire = replayed(played, name)
    odd = [one for found in wire.seen for one in found.instances("app-layer-event")]
    assert odd == []
    left = {key: n for key, n in wire.counters.values.items() if key.startswith(("smb.", "krb5.", "app_layer.error"))}
    assert not any(left.values()), left


@pytest.mark.parametrize(("name", "dialect"), [("smb1", "NT LANMAN 1.0"), ("smb2", "2.10"), ("smb3", "3.11")])
def test_a_file_is_put_and_got_back(played: Path, name: str, dialect: str) -> None:
    wire = replayed(played, name)
    ended, _ = wire.stage.files.take()
    assert [(file.direction, file.name.lstrip(b"\\"), file.size, file.state.name) for file in ended] == [
        (side, b"up.exe", len(CONTENT), "CLOSED") for side in Direction
    ]
    assert all(file.content == CONTENT[: len(file.content)] for file in ended)
    assert {event["dialect"] for event in events(wire)[2:]} == {dialect}


@pytest.mark.parametrize("name", ["smb1", "smb2", "smb3"])
def test_who_logs_on_to_which_tree_and_what_becomes_of_the_file(played: Path, name: str) -> None:
    wire = replayed(played, name)
    shares = [one for found in wire.seen for one in found.instances("smb.share")]
    assert any(share.lower().endswith(b"\\data") for share in shares)
    logons = [event["ntlmssp"] for event in events(wire) if "ntlmssp" in event]
    assert [logon["user"] for logon in logons] == ["alice"]
    renamed = [event["rename"]["to"].lstrip("\\") for event in events(wire) if "rename" in event]
    assert renamed == ["new.exe"]


def test_a_call_through_a_pipe(played: Path) -> None:
    wire = replayed(played, "rpc")
    calls = [event["dcerpc"] for event in events(wire) if "dcerpc" in event]
    assert [(call["request"], call["response"]) for call in calls] == [("BIND", "BINDACK"), ("REQUEST", "RESPONSE")]
    called = [found for found in wire.seen if found.buffers.get("dcerpc.opnum") == b"21"]
    assert called[0].buffers["dcerpc.iface"] == b"4b324fc8-1670-01d3-1278-5a47bf6ee188 3", "srvsvc: NetrServerGetInfo"


def test_a_ticket_is_granted(played: Path) -> None:
    asked, granted = events(replayed(played, "kinit"))
    assert (asked["msg_type"], asked["cname"], asked["sname"]) == ("KRB_AS_REQ", "alice", "krbtgt/CORP")
    assert (granted["msg_type"], granted["weak_encryption"]) == ("KRB_AS_REP", False)
