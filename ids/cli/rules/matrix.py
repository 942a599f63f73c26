"""The table of `ids rules test --evade`: rules by kinds of transformation, and how many of each are found."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from ids.authoring.proving import Verdict
from ids.cli.options import output_console
from ids.literal import literal
from ids.testing.evade import FAMILIES


def show_matrix(verdicts: Sequence[Verdict], only_failed: bool) -> None:
    """Print a row a rule whose tests were said in other ways: found of played, for each family of evasions."""
    rows = _counted(verdicts)
    if only_failed:
        rows = {
            rule: found for rule, found in rows.items() if any(found[family][0] < found[family][1] for family in found)
        }
    if not rows:
        return
    families = [family for family in FAMILIES if any(family in found for found in rows.values())]
    table = Table("sid", "found of played", box=None)
    for family in families:
        table.add_column(family, justify="right")
    for (sid, title), found in rows.items():
        table.add_row(str(sid), title, *(_cell(*found[family]) if family in found else "" for family in families))
    output_console().print(table)


def _counted(verdicts: Sequence[Verdict]) -> dict[tuple[int, str], dict[str, list[int]]]:
    """Return found and played evasions by rule and family; what was skipped is not played."""
    rows: dict[tuple[int, str], dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for verdict in verdicts:
        if verdict.evasion and not verdict.skipped:
            signature = verdict.proof.rule.signature
            cell = rows[signature.sid, signature.title][verdict.evasion.partition(":")[0]]
            cell[0] += verdict.held
            cell[1] += 1
    return dict(rows)


def _cell(found: int, played: int) -> Text:
    return Text(literal(f"{found}/{played}"), style="" if found == played else "red")
