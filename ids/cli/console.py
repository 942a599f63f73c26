"""`ids console`: the web console and the metrics."""

from __future__ import annotations

import ipaddress
import signal
import threading
from pathlib import Path
from types import FrameType

import click

from ids.cli.options import build_config, instance_options, print_message
from ids.config import Config, ConsoleSettings
from ids.errors import UsageError

Place = tuple[str, int] | Path

NICENESS = 10
"""Whoever hammers the console is not to take the processors from the engine, which may run on the same."""


@click.command()
@click.option("--listen", help="Where, such as 127.0.0.1:9477 or unix:/run/ids/console.sock; wins over the settings.")
@click.option("--write", is_flag=True, help="Let whoever has the token lift blocks and allow addresses.")
@instance_options
def console(listen: str | None, write: bool, config_path: str | None, overrides: tuple[str, ...]) -> None:
    """Serve the web console and Prometheus' /metrics, on this host alone unless the settings say otherwise.

    A process of its own: it asks the engine, the kernel and the store, and costs the packets nothing. It ends with
    Ctrl-C or SIGTERM.
    """
    from ids.console.access import Access
    from ids.console.app import App
    from ids.console.server import BoundedServer
    from ids.console.token import read_token
    from ids.service.logs import configure
    from ids.service.priority import give_way
    from ids.snapshot import Watcher, take_snapshot

    configure()
    config = build_config(config_path, overrides, console__listen=listen)
    place = place_of(config.console)
    token_file = config.console.token_file or Path(config.engine.runtime_dir) / f"{config.instance}.token"
    access = Access(read_token(token_file), _hosts(config, place), instance=config.instance)
    watcher = Watcher(lambda: take_snapshot(config))
    app = App(config, access, watcher.look, write=write, open_metrics=config.console.open_metrics)
    give_way(NICENESS)
    server = BoundedServer(place, app.answer)
    with server:
        _end_with_signals(server)
        print_message(f"ids: console on {_shown(server.server_address)}, token in {token_file}")
        server.serve_forever(poll_interval=0.2)


def place_of(settings: ConsoleSettings) -> Place:
    """Return where to listen; raises `UsageError` for what is no place, or one that others reach."""
    if settings.listen.startswith("unix:"):
        return Path(settings.listen.removeprefix("unix:"))
    host, _, port = settings.listen.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]") if host != "localhost" else "127.0.0.1")
        number = int(port)
        if not 0 <= number <= 65535:
            raise ValueError(port)
    except ValueError:
        raise UsageError(
            f"console.listen: {settings.listen!r} is no place; write 127.0.0.1:9477, [::1]:9477 or unix:/PATH"
        ) from None
    if not address.is_loopback and not settings.elsewhere:
        raise UsageError(
            f"console.listen: others reach {address}, and there is no TLS; listen on 127.0.0.1 behind a proxy that has"
            " it, or set console.elsewhere"
        )
    return str(address), number


def _hosts(config: Config, place: Place) -> list[str]:
    """Return the names by which the console may be asked for, beside those of this host."""
    if isinstance(place, Path):
        return config.console.hosts
    host = place[0]
    return [*config.console.hosts, f"[{host}]" if ":" in host else host]


def _shown(address: object) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    return str(address)


def _end_with_signals(server: object) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        # `shutdown` waits for the loop, which runs in this thread
        threading.Thread(target=server.shutdown, daemon=True).start()  # type: ignore[attr-defined]

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
