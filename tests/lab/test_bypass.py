"""What nobody can find anything in passes unseen, and `ids stats` says how much that was, and why."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ids.lab.actors import LOG4SHELL, connect
from ids.lab.guard import Guard
from ids.lab.removal import wait_until
from ids.lab.topology import ATTACKERS, BENIGN, SERVER, Lab
from tests.lab.clients import PATIENCE_S
from tests.lab.test_guard import alert_of

pytestmark = [pytest.mark.root, pytest.mark.lab, pytest.mark.xdp]

SIZE = 3 << 20
PORT = 4433
MAKE_KEY = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
SERVE_TLS = ("openssl", "s_server", "-quiet", "-WWW", "-accept", str(PORT))
ON_HTTP = """\
rules:
  - title: Log4Shell
    sid: 1
    traffic: http any any -> any any
    match: [{http.header: {contains: "${jndi:"}}]
    block: {target: src_ip, for: 1h}
"""
ON_ALL = """\
  - title: needle
    sid: 2
    traffic: tcp any any -> any any
    match: [payload: {contains: "a needle that nobody sends"}]
"""


@pytest.fixture
def encrypted(site: Lab) -> Lab:
    """A lab whose server has a large file, over HTTP and over TLS."""
    pages = site.directory / "web-server" / "pages"
    (pages / "big.bin").write_bytes(bytes(10 * SIZE))
    key, certificate = site.directory / "key.pem", site.directory / "certificate.pem"
    made = [*MAKE_KEY, "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=server.example"]
    subprocess.run(made, check=True, capture_output=True, timeout=60)
    served = ["env", "-C", str(pages), *SERVE_TLS, "-key", str(key), "-cert", str(certificate)]
    site.spawn(site.server, served, "tls.log")
    assert wait_until(lambda: listens(site), PATIENCE_S)
    return site


def listens(site: Lab) -> bool:
    """Return whether the TLS server is there."""
    try:
        with site.server.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
            tried.connect((SERVER, PORT))
    except OSError:
        return False
    return True


def guarded(site: Lab, rules: str, **settings: dict[str, Any]) -> Guard:
    """Guard the lab with rules of this text."""
    path = Path(site.directory) / "own.yaml"
    path.write_text(rules)
    guard = Guard(site, rules={"paths": [str(path)]}, **settings)
    guard.start()
    return guard


def left_out(guard: Guard, reason: str) -> dict[str, Any]:
    """Return what `ids stats` says went uninspected for a reason, nothing where there is none of it."""
    found: dict[str, dict[str, Any]] = {row["reason"]: row for row in guard.command("stats")["uninspected"]}
    return found.get(reason, {})


@pytest.mark.parametrize(("rules", "reason"), [(ON_HTTP, "unneeded"), (ON_HTTP + ON_ALL, "bypass")])
def test_a_download_over_tls_passes_unseen_after_its_handshake(encrypted: Lab, rules: str, reason: str) -> None:
    """At once where no rule looks at bytes as they are, else behind `engine.bypass_after_bytes`; and what is said in
    clear, on the same server, is inspected."""
    guard = guarded(encrypted, rules)
    url = f"https://{SERVER}:{PORT}/big.bin"
    command = ["curl", "-sk", "--limit-rate", "300k", "--interface", BENIGN, "-o", "/dev/null", url]
    client = encrypted.spawn(encrypted.attacker, command, "curl.out")  # so slow that it goes on until it is stopped
    assert wait_until(lambda: left_out(guard, reason).get("packets", 0) > 0, PATIENCE_S)
    encrypted.stop(client)
    saved = left_out(guard, reason)
    assert (saved["flows"], saved["intended"]) == (1, True)
    assert saved["bytes"] > 0
    with connect(encrypted.attacker, ATTACKERS[0], PATIENCE_S) as connection:
        connection.sendall(LOG4SHELL.encode())
        assert alert_of(guard, ATTACKERS[0])["action"] == "blocked"


def test_downloads_on_one_connection_are_cut_at_the_depth_each_which_does_not_count_as_lost(site: Lab) -> None:
    (site.directory / "web-server" / "pages" / "big.bin").write_bytes(bytes(SIZE))
    guard = guarded(site, ON_HTTP + ON_ALL)
    url = f"http://{SERVER}/big.bin"
    command = ["curl", "-s", "--max-time", "60", "--limit-rate", "3M", "--interface", BENIGN]
    command += ["-o", "/dev/null", url, "-o", "/dev/null", url, "-o", "/dev/null", url]
    assert site.spawn(site.attacker, command, "curl.out").wait(timeout=90) == 0
    assert wait_until(lambda: left_out(guard, "depth").get("bytes", 0) > SIZE, PATIENCE_S)
    assert left_out(guard, "depth")["flows"] == 1
    shown = guard.command("stats")["kernel"]["pass.shown"]["bytes"]
    assert left_out(guard, "missing").get("bytes", 0) <= shown, "what was not shown cannot have been lost"
