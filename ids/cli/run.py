"""`ids run`: guard interfaces."""

from __future__ import annotations

import faulthandler
import io
import socket
from contextlib import suppress
from pathlib import Path

import click

from ids.cli.options import build_config, config_options, workers_option
from ids.config import Config


@click.command()
@click.option(
    "-i", "--interface", "interfaces", multiple=True, metavar="NAME", help="Interface to guard; may be repeated."
)
@workers_option
@click.option(
    "--wait-interfaces", is_flag=True, help="Start although an interface is not there yet; guard it when it is."
)
@click.option("--eve", "eve_path", type=click.Path(), help="Append events to this file; `-` is stdout.")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Create this file once packets are being inspected."
)
@click.option(
    "--pcap-out",
    "pcap_out",
    type=click.Path(file_okay=False),
    help="Record the packets around each alert in this folder.",
)
@config_options
def run(
    interfaces: tuple[str, ...],
    workers: int | str | None,
    wait_interfaces: bool,
    eve_path: str | None,
    ready_file: Path | None,
    pcap_out: str | None,
    config_path: str | None,
    overrides: tuple[str, ...],
    only_rules: tuple[str, ...],
) -> None:
    """Attach to interfaces, inspect what the kernel shows, and block what the rules condemn. Ends on Ctrl-C or SIGTERM.

    SIGHUP, or `ids reload`, reads the configuration again.
    """
    from ids.live import Live
    from ids.service.logs import configure
    from ids.service.notify import Notifier
    from ids.service.priority import give_way
    from ids.service.privileges import ENGINE, WITH_DISPATCHER, keep_only

    with suppress(io.UnsupportedOperation):  # a caller within Python may have put a stderr without a file there
        faulthandler.enable()  # a watchdog ends a loop that hangs by SIGABRT: where it hung is in the log then
    configure()

    def read() -> Config:
        config = build_config(
            config_path, overrides, only_rules,
            eve__path=eve_path, engine__workers=workers, engine__wait_interfaces=wait_interfaces or None,
            captures__dir=pcap_out,
        )  # fmt: skip
        merged = [*config.interfaces, *(name for name in interfaces if name not in config.interfaces)]
        return config.model_copy(update={"interfaces": merged})

    config = read()
    give_way(config.engine.niceness)
    if config.engine.drop_privileges:
        keep_only(WITH_DISPATCHER if _beside_others(config) else ENGINE)
    Live(config, read, ready_file=ready_file, notifier=Notifier.from_environment()).run()


def _beside_others(config: Config) -> bool:
    """Return whether an interface that is there has libxdp's dispatcher."""
    from ids.kernel.attach.dispatcher import is_dispatcher
    from ids.kernel.system.netlink import query_xdp

    there = {name for _, name in socket.if_nameindex()} & set(config.interfaces)
    programs = [query_xdp(interface).program_id for interface in there]
    return any(program and is_dispatcher(program) for program in programs)
