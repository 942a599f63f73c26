"""`ids console`: where it listens, and that it ends when it is asked to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ids.cli.console import console, place_of
from ids.config import ConsoleSettings
from ids.errors import UsageError

PATIENCE_S = 120


@pytest.mark.parametrize(
    ("listen", "place"),
    [
        ("127.0.0.1:9477", ("127.0.0.1", 9477)),
        ("127.8.8.8:0", ("127.8.8.8", 0)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:80", ("127.0.0.1", 80)),
        ("unix:/run/x.sock", Path("/run/x.sock")),
    ],
)
def test_places_of_this_host(listen: str, place: object) -> None:
    assert place_of(ConsoleSettings(listen=listen)) == place


@pytest.mark.parametrize("listen", ["0.0.0.0:9477", "[::]:9477", "192.0.2.1:80", "[2001:db8::1]:80"])
def test_a_place_that_others_reach_has_to_be_meant(listen: str) -> None:
    with pytest.raises(UsageError, match=r"no TLS.*console\.elsewhere"):
        place_of(ConsoleSettings(listen=listen))
    assert place_of(ConsoleSettings(listen=listen, elsewhere=True))


@pytest.mark.parametrize("listen", ["", "9477", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", "evil.example:80"])
def test_what_is_no_place_is_refused(listen: str) -> None:
    with pytest.raises(UsageError, match="is no place"):
        place_of(ConsoleSettings(listen=listen))


def test_a_console_serves_until_it_is_asked_to_end(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    program = "import sys; from ids.cli import main; main(sys.argv[1:])"
    places = [
        f"engine.runtime_dir={tmp_path}",
        f"engine.state_dir={tmp_path}",
        f"fastpath.pin_dir={tmp_path}/pins",
    ]
    arguments = ["console", "--listen", f"unix:{path}", *(word for place in places for word in ("--set", place))]
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert f"token in {tmp_path}/default.token" in said
        token = (tmp_path / "default.token").read_text().strip()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(PATIENCE_S)
            client.connect(str(path))
            headers = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
            client.sendall(f"GET /metrics HTTP/1.1\r\n{headers}\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"ids_engine_up 0.0" in answer
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    assert not path.exists()


def test_its_log_has_the_form_of_the_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """With priorities for a journal."""
    configured: list[bool] = []
    monkeypatch.setattr("ids.service.logs.configure", lambda: configured.append(True))
    result = CliRunner().invoke(console, ["--set", "nonsense"])
    assert isinstance(result.exception, UsageError)
    assert configured == [True]
