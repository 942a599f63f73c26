"""Real clients and servers of HTTP/2 talk over a relay that keeps what they say: ``python -m tests.protocols.played``.

Runs in a network namespace of its own, with nothing but the loopback interface. Each conversation becomes a file of the
directory that it is given: a side, a length and that many bytes, again and again.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NGINX, NGHTTPD, NGHTTPX, RELAY = 8080, 8090, 8095, 8070
PATIENCE_S = 30.0
_CONFIG = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{}}
http {{
  access_log off; client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  gzip on; gzip_min_length 1; gzip_types text/plain;
  server {{
    listen 127.0.0.1:{port} http2; root {directory}/www;
    location /push {{ http2_push /file.txt; try_files /file.txt =404; }}
  }}
}}
"""

PLAYS: dict[str, tuple[int, tuple[str, ...]]] = {
    "curl": (NGINX, ("curl", "--http2-prior-knowledge", "-sS", "-A", "${jndi:ldap://x}", "{url}/file.txt?a=1")),
    "post": (NGHTTPD, ("curl", "--http2-prior-knowledge", "-sS", "--data", "name=attack", "{url}/post")),
    "gzip": (NGINX, ("curl", "--http2-prior-knowledge", "-sS", "--compressed", "{url}/file.txt")),
    "upgrade": (NGHTTPX, ("curl", "--http2", "-sS", "{url}/file.txt", "--next", "--http2", "-sS", "{url}/other.txt")),
    "nghttp": (NGINX, ("nghttp", "-v", "-a", "{url}/file.txt", "{url}/other.txt", "{url}/push")),
    "padded": (NGHTTPD, ("nghttp", "-b", "17", "-H", "x-long: " + "y" * 3000, "--continuation", "{url}/file.txt")),
    "nghttp-upgrade": (NGHTTPX, ("nghttp", "-u", "{url}/file.txt")),
    "h2load": (NGINX, ("h2load", "-n", "200", "-c", "1", "-m", "20", "{url}/file.txt")),
}
"""By name: the port of the server, and the command of the client."""
FILE, OTHER = b"a file of words that come again and again " * 40, b"another"


def record(directory: Path) -> None:
    """Play everything that is installed."""
    www = directory / "www"
    www.mkdir()
    (www / "file.txt").write_bytes(FILE)
    (www / "other.txt").write_bytes(OTHER)
    config = directory / "nginx.conf"
    config.write_text(_CONFIG.format(directory=directory, port=NGINX))
    servers = {
        NGINX: ["nginx", "-c", str(config), "-e", str(directory / "error.log")],
        NGHTTPX: [
            "nghttpx",
            "--conf=/dev/null",
            f"-f127.0.0.1,{NGHTTPX};no-tls",
            f"-b127.0.0.1,{NGINX};;proto=h2",
            "-L",
            "ERROR",
        ],
        NGHTTPD: ["nghttpd", "--no-tls", "--echo-upload", "-a", "127.0.0.1", "-d", str(www), str(NGHTTPD)],
    }
    with running(servers):
        for name, (port, command) in PLAYS.items():
            with Relay(port, directory / f"{name}.said") as relay:
                words = [word.format(url=f"http://127.0.0.1:{RELAY}") if "{url}" in word else word for word in command]
                played = subprocess.run(words, capture_output=True, timeout=PATIENCE_S, check=False)
                (directory / f"{name}.out").write_bytes(played.stdout + played.stderr)
                relay.wait()


@contextmanager
def running(servers: dict[int, list[str]]) -> Iterator[None]:
    """Run servers until the end."""
    processes = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in servers.values()
    ]
    try:
        for port in servers:
            _await(port)
        yield
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(PATIENCE_S)


class Relay:
    """Connects a client to a server, and keeps what each says."""

    def __init__(self, port: int, path: Path) -> None:
        self._port = port
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", RELAY))
        self._listener.settimeout(PATIENCE_S)
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def wait(self) -> None:
        """Wait for the end of the conversation."""
        self._thread.join(PATIENCE_S)

    def _serve(self) -> None:
        with self._path.open("wb") as kept:
            client, _ = self._listener.accept()
            with client, socket.create_connection(("127.0.0.1", self._port)) as server:
                while True:
                    for end in select.select([client, server], [], [])[0]:
                        data = end.recv(65536)
                        if not data:
                            return
                        (server if end is client else client).sendall(data)
                        kept.write(struct.pack(">BI", end is server, len(data)) + data)


def said(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield what was said, each piece with its side."""
    data, at = path.read_bytes(), 0
    while at < len(data):
        side, size = struct.unpack_from(">BI", data, at)
        yield side, data[at + 5 : at + 5 + size]
        at += 5 + size


def _await(port: int) -> None:
    for _ in range(int(PATIENCE_S * 20)):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")


if __name__ == "__main__":
    record(Path(sys.argv[1]))
