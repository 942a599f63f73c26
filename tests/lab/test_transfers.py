"""FTP through a gateway with several workers: whichever has a data connection knows what it is.

Copies of the control connection come to each worker by the program, in the order in which it judged the packets; only
an engine that runs shows that they are there before the data.
"""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, SERVER, Lab
from tests.lab.clients import PATIENCE_S

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

TRANSFERS = 12
RULE = 'alert ftp-data any any -> any any (msg:"what was transferred"; file.data; content:"EVIL"; sid:9000001;)\n'


def test_transfers_are_inspected_by_whichever_worker_has_them(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "ftp.rules").write_text(RULE)
    guard = Guard(lab, rules={"paths": [str(tmp_path)]}, engine={"workers": 3}, respond={"mode": "shadow"})
    guard.start()
    with lab.server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((SERVER, 21))
        listener.listen()
        with lab.attacker.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.bind((ATTACKERS[0], 0))
            client.connect((SERVER, 21))
            session, _ = listener.accept()
            with session:
                session.settimeout(PATIENCE_S)
                for number in range(TRANSFERS):
                    _transfer(lab, client, session, number)
    alerts: list[int] = []

    def all_came() -> bool:
        alerts[:] = [event["src_port"] for event in guard.events() if event["event_type"] == "alert"]
        return len(set(alerts)) == TRANSFERS

    assert wait_until(all_came, PATIENCE_S), f"of {TRANSFERS} transfers alerts came of {sorted(set(alerts))}"
    assert len(alerts) == TRANSFERS, "each once"
    assert guard.kernel_packets()["note.shown_to_another_worker"] > 0


def _transfer(lab: Lab, client: socket.socket, session: socket.socket, number: int) -> None:
    """Fetch a file, as passive clients do."""
    with lab.server.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind((SERVER, 30_000 + number))
        listener.listen()
        greeting = b"220 FTP server\r\n" if not number else b""
        _say(session, client, greeting)
        _say(client, session, b"PASV\r\n")
        port = listener.getsockname()[1]
        _say(session, client, b"227 ok (%s,%d,%d)\r\n" % (SERVER.replace(".", ",").encode(), port >> 8, port & 0xFF))
        _say(client, session, b"RETR %d.bin\r\n" % number)
        with lab.attacker.socket(socket.AF_INET, socket.SOCK_STREAM) as fetching:
            fetching.settimeout(PATIENCE_S)
            fetching.bind((ATTACKERS[0], 0))
            fetching.connect((SERVER, port))
            sending, _ = listener.accept()
            with sending:
                sending.sendall(b"EVIL, and the content of file %d" % number)
            while fetching.recv(4096):
                pass
        _say(session, client, b"226 done\r\n")


def _say(sender: socket.socket, receiver: socket.socket, line: bytes) -> None:
    sender.sendall(line)
    left = len(line)
    while left:
        left -= len(receiver.recv(left))
