"""`ids rules import`: rules in Suricata's language as YAML."""

from __future__ import annotations

import re
import sys
from collections import Counter

import click

from ids.authoring.importing import import_rules
from ids.cli.options import build_config, count_of, instance_options, print_message
from ids.errors import RulesRefused, UsageError
from ids.rules.language.loader import SURICATA_SUFFIXES
from ids.rules.language.suricata.files import ConfigPaths
from ids.source import MAX_BYTES

_VALUE = re.compile(r"'[^']*'|\b\d+\b|\b[a-z]\w*(?:\.\w+)+\b")
"""What differs in reasons that are one."""


@click.command("import")
@click.argument("path", type=click.Path())
@click.option("--each", is_flag=True, help="Name each rule that is not converted, with its place and the reason.")
@instance_options
def command(path: str, each: bool, config_path: str | None, overrides: tuple[str, ...]) -> None:
    """Convert a file of Suricata's rules to YAML, on stdout: ids rules import x.rules > x.yaml

    Each rule is read back, and written only where it means the same. What YAML cannot say is counted by reason.
    """
    if not path.endswith(SURICATA_SUFFIXES):
        raise UsageError(f"{path} is no file of Suricata's rules: they end in {', '.join(SURICATA_SUFFIXES)}")
    config = build_config(config_path, overrides)
    rules = config.rules
    beside = ConfigPaths.of(rules)
    found = import_rules(path, config.vars, beside)
    if found.errors:
        raise RulesRefused(found.errors)
    size = 0
    for piece in found.document():
        size += len(piece)
        sys.stdout.write(piece)
    if each:
        for entry in found.not_converted:
            print_message(f"{entry.rule.source}: sid {entry.rule.signature.sid}: {entry.reason}")
        for error in found.left_out:
            print_message(str(error))
    print_message(f"{count_of(len(found.converted), 'rule')} converted, {len(found.not_converted):,} not")
    for reason, number in Counter(_VALUE.sub("…", entry.reason) for entry in found.not_converted).most_common():
        print_message(f"{number:8,}  {reason}")
    if found.left_out:
        print_message(f"{len(found.left_out):8,}  could not be loaded: see `ids rules check {path}`")
    if size > MAX_BYTES:
        print_message(f"warning: a rule file has at most {MAX_BYTES >> 20} MiB: split this one")
