"""`ids run`: guard interfaces."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from ids.cli.options import build_config, config_options, workers_option
from ids.config import Config


@click.command()
@click.option(
    "-i", "--interface", "interfaces", multiple=True, metavar="NAME", help="Interface to guard; may be repeated."
)
@workers_option
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

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)

    def read() -> Config:
        config = build_config(
            config_path, overrides, only_rules, eve__path=eve_path, engine__workers=workers, captures__dir=pcap_out
        )
        merged = [*config.interfaces, *(name for name in interfaces if name not in config.interfaces)]
        return config.model_copy(update={"interfaces": merged})

    Live(read(), read, ready_file=ready_file).run()
