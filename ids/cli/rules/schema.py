"""`ids rules schema`: what editors complete and check rules by."""

from __future__ import annotations

import click

from ids.cli.options import show_json
from ids.rules.language.json_schema import rule_file_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of YAML rule files, by which editors complete and check."""
    show_json(rule_file_schema())
