"""Real clients and servers of SMB, DCE/RPC and Kerberos talk over a relay that keeps what they say:
``python -m tests.protocols.played_windows DIRECTORY``, in a network namespace of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.protocols.played import PATIENCE_S, RELAY, Relay, running

SMBD, KDC = 8445, 8088
_SAMBA = """
[global]
  smb ports = {port}
  interfaces = lo
  bind interfaces only = yes
  server role = standalone
  server min protocol = NT1
  client min protocol = NT1
  client ipc min protocol = NT1
  client ipc signing = disabled
  client signing = disabled
  disable netbios = yes
  map to guest = Bad User
  load printers = no
  private dir = {directory}
  lock directory = {directory}
  state directory = {directory}
  cache directory = {directory}
  pid directory = {directory}
  ncalrpc dir = {directory}/ncalrpc
  passdb backend = tdbsam:{directory}/passdb.tdb
  log file = {directory}/smbd.log
[data]
  path = {directory}/share
  guest ok = yes
  read only = no
  force user = root
"""
_KERBEROS = """
[libdefaults]
  default_realm = CORP
  dns_lookup_kdc = false
  dns_lookup_realm = false
  udp_preference_limit = 1
  rdns = false
[realms]
  CORP = {{
    kdc = 127.0.0.1:{relay}
  }}
"""
_KDC = """
[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  CORP = {{
    database_name = {directory}/principal
    key_stash_file = {directory}/stash
  }}
"""
CONTENT = b"MZ a program that nobody should run " * 3000

_PUT = "put {directory}/program.exe up.exe; get up.exe {directory}/down.exe; rename up.exe new.exe; rm new.exe"
PLAYS: dict[str, tuple[str, ...]] = {
    name: (
        "smbclient",
        "//127.0.0.1/data",
        "-p",
        str(RELAY),
        "-U",
        "alice%x",
        "-s",
        "{conf}",
        "-m",
        dialect,
        "-c",
        _PUT,
    )
    for name, dialect in (("smb1", "NT1"), ("smb2", "SMB2_10"), ("smb3", "SMB3_11"))
} | {
    "rpc": ("rpcclient", "127.0.0.1", "-p", str(RELAY), "-U%", "-s", "{conf}", "-c", "srvinfo"),
    "kinit": ("kinit", "-c", "{directory}/ccache", "alice"),
}
"""By name: the command of a client."""


def record(directory: Path) -> None:
    """Play everything."""
    (directory / "share").mkdir()
    (directory / "program.exe").write_bytes(CONTENT)
    conf = directory / "smb.conf"
    conf.write_text(_SAMBA.format(directory=directory, port=SMBD))
    (directory / "krb5.conf").write_text(_KERBEROS.format(relay=RELAY))
    (directory / "kdc.conf").write_text(_KDC.format(directory=directory, port=KDC))
    os.environ["KRB5_CONFIG"] = str(directory / "krb5.conf")
    os.environ["KRB5_KDC_PROFILE"] = str(directory / "kdc.conf")
    _run("kdb5_util", "create", "-s", "-r", "CORP", "-P", "master")
    _run("kadmin.local", "-r", "CORP", "-q", "addprinc -pw secret alice")
    servers = {
        SMBD: ["smbd", "--foreground", "-s", str(conf)],
        KDC: ["krb5kdc", "-n", "-r", "CORP"],
    }
    with running(servers):
        for name, command in PLAYS.items():
            words = [word.format(directory=directory, conf=conf) for word in command]
            with Relay(KDC if name == "kinit" else SMBD, directory / f"{name}.said") as relay:
                played = subprocess.run(
                    words, input=b"secret\n", capture_output=True, timeout=PATIENCE_S, check=False
                )  # fmt: skip
                (directory / f"{name}.out").write_bytes(played.stdout + played.stderr)
                relay.wait()


def _run(*words: str) -> None:
    subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=True)


if __name__ == "__main__":
    record(Path(sys.argv[1]))
