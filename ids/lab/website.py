"""The web server behind the gateway: a real nginx where there is one, Python's own where not."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ids.errors import KernelError
from ids.lab.namespace import Namespace
from ids.lab.removal import wait_until
from ids.lab.topology import Lab

PORT = 80
PAGES = {
    "index.html": "<!doctype html><title>Shop</title><h1>Garden tools</h1><p>Rakes, spades, hoes.</p>\n",
    "about.html": "<!doctype html><title>About</title><p>Open on weekdays.</p>\n",
    "catalogue.html": "<!doctype html><title>Catalogue</title>" + "<p>A rake with a long ash handle.</p>\n" * 200,
}
START_S = 10.0

_NGINX = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/html;
    server {{
        listen {port} default_server;
        {listen6}
        root {directory}/pages;
    }}
}}
"""
"""One process, nothing of the distribution's own sites, and every file in the lab's directory."""


@dataclass(frozen=True, slots=True)
class Website:
    """A running web server."""

    process: subprocess.Popen[bytes]
    software: str
    """What serves the pages, such as ``nginx 1.22.1``."""


def start_website(lab: Lab, host: Namespace | None = None) -> Website:
    """Serve `PAGES` on port 80 of a namespace (None: the lab's server).

    Raises `ids.errors.KernelError` when it does not come up.
    """
    namespace = host or lab.server
    directory = lab.directory / f"web-{namespace.name.rpartition('-')[2]}"
    log = lab.directory / f"{directory.name}.log"
    pages = directory / "pages"
    pages.mkdir(parents=True, exist_ok=True)
    for name, text in PAGES.items():
        (pages / name).write_text(text)
    nginx = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if nginx is not None:
        command, software = _nginx(nginx, directory, lab.ipv6), _nginx_version(nginx)
    else:
        bind = "::" if lab.ipv6 else "0.0.0.0"
        command = [sys.executable, "-m", "http.server", str(PORT), "--bind", bind, "--directory", str(pages)]
        software = "Python's http.server, because nginx is not installed"
    process = lab.spawn(namespace, command, log.name)
    if not wait_until(lambda: process.poll() is not None or _answers(namespace), START_S) or process.poll() is not None:
        said = log.read_text(errors="replace").strip()
        raise KernelError(f"the web server of the lab did not start: {said[-500:]}")
    return Website(process, software)


def _nginx(nginx: str, directory: Path, ipv6: bool) -> list[str]:
    listen6 = f"listen [::]:{PORT} default_server;" if ipv6 else ""
    config = directory / "nginx.conf"
    config.write_text(_NGINX.format(directory=directory, port=PORT, listen6=listen6))
    return [nginx, "-p", str(directory), "-c", str(config)]


def _nginx_version(nginx: str) -> str:
    said = subprocess.run([nginx, "-v"], capture_output=True, text=True, timeout=10, check=False).stderr
    return said.rpartition("nginx version:")[2].split("(")[0].strip().replace("/", " ") or "nginx"


def _answers(namespace: Namespace) -> bool:
    with namespace.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", PORT)) == 0
