"""`ids rules`: check, prove, explain, measure and write rules; one verb a module."""

from __future__ import annotations

import importlib

import click

VERBS = {
    "check": "Load rule files and report every fault with its place.",
    "schema": "Print the JSON Schema of YAML rule files.",
    "list": "List the rules that would be loaded.",
    "test": "Run the tests that rules carry.",
    "explain": "Say why a rule matched in a capture, or what kept it from it.",
    "coverage": "Show what rules need, and what hides some of it from them.",
    "keyword": "Print what a keyword or a buffer does, with an example.",
    "new": "Write a rule to begin with, with tests.",
    "import": "Convert Suricata's rules to YAML.",
    "profile": "Show what each rule costs on a capture.",
}
"""The verbs in the order of the help text, each in the module of its name, which is imported when it is used."""


_MODULES = {"list": "list_", "import": "import_"}


class _RuleVerbs(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*VERBS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"ids.cli.rules.{_MODULES.get(cmd_name, cmd_name)}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_RuleVerbs)
def rules() -> None:
    """Work on rules: YAML, YARA and Suricata's."""
