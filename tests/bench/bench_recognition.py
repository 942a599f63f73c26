"""Which protocols are recognised: ours beside Suricata's and nDPI's, flow by flow, over captures.

The captures are those of the peer's public tests, those of this project, and conversations made by hand. A row is a
protocol, its counts are flows: how many each engine recognises, and how many all that know it agree on; and the same
once more where every server has moved to a port that nobody knows (`moved`), so that only what is said counts.

Each difference that is known is in `recognition_checked.txt` with its cause; others are printed, and make the exit
code 1. ``build/recognition.json`` has all flows. Suricata and nDPI are asked once about a capture, which takes some ten
minutes for all of them; what they said is kept in ``build/``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.captures import BUILD, ROOT, SHARED
from tests.bench.conversations import conversations
from tests.bench.moved import moved
from tests.bench.recognisers import Peers, Said, moved_key, said_of
from tests.bench.recognition_names import of_eve, of_ndpi
from tests.bench.report import WIDTH, CannotRun

CHECKED = Path(__file__).with_name("recognition_checked.txt")
"""A line a difference: who says it, the protocol by that one, by ours, capture, and behind two blanks the cause."""
WHO = ("ours", "suricata", "ndpi")
NOTHING = "-"
COLUMNS = (
    "protocol", "captures", "flows", "ours", "Suricata", "nDPI", "agree", "moved", "ours, moved",
    "Suricata, moved", "nDPI, moved",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One flow: what each engine takes it for, by our names; several, where it was one protocol after another."""

    capture: str
    flow: str
    ours: tuple[str, ...]
    suricata: tuple[str, ...]
    ndpi: tuple[str, ...]
    before: Row | None = None
    """Where its server has moved: what it was taken for until then."""

    @property
    def names(self) -> frozenset[str]:
        """All that anybody takes it for, or took it for."""
        before = self.before.names if self.before is not None else ()
        return frozenset((*self.ours, *self.suricata, *self.ndpi, *before))

    def differences(self) -> Iterator[str]:
        """Yield what an engine recognises and ours does not, what ours alone does, and what ours did
        before the server moved: as `CHECKED` has it."""
        mine = "+".join(self.ours) or NOTHING
        for who, names in (("suricata", self.suricata), ("ndpi", self.ndpi)):
            if names and set(names).isdisjoint(self.ours):
                yield f"{who} {'+'.join(names)} {mine} {self.capture}"
        if self.before is not None:
            if self.before.ours and set(self.before.ours).isdisjoint(self.ours):
                yield f"moved {'+'.join(self.before.ours)} {mine} {self.capture}"
        elif self.ours and not self.suricata and not self.ndpi:
            yield f"ours {mine} {NOTHING} {self.capture}"


def main(arguments: Sequence[str] = ()) -> int:
    """Compare; print the table, and what differs without a cause."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench recognition", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--limit", type=int, default=10_000, help="captures at most")
    parser.add_argument("--markdown", action="store_true", help="print the table as the documentation has it")
    parser.add_argument(
        "captures", nargs="*", type=Path, help="captures (default: the peer's, ours, some made by hand)"
    )
    options = parser.parse_args(list(arguments))
    if shutil.which("suricata") is None:
        raise CannotRun("suricata is not installed")
    peers = Peers()
    with tempfile.TemporaryDirectory() as folder:
        captures = dict(_captures(options.captures, Path(folder)))
        captures = dict(list(captures.items())[: options.limit])
        rows = list(compared(captures, Path(folder), peers))
    BUILD.mkdir(exist_ok=True)
    (BUILD / "recognition.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    lines = list(_lines(rows))
    if options.markdown:
        print(_markdown(lines))
    else:
        _print(lines)
    return _differ(rows, peers)


def compared(captures: dict[str, Path], folder: Path, peers: Peers) -> Iterator[Row]:
    """Yield the flows of captures, by name, as they are and with their servers moved."""
    found = said_of(list(captures.values()), peers)
    elsewhere: dict[str, Path] = {}
    known: dict[str, dict[str, Row]] = {}
    for number, (name, path) in enumerate(captures.items()):
        known[name] = {row.flow: row for row in _rows(name, found[path])}
        yield from known[name].values()
        data = moved(path.read_bytes()) if known[name] else None
        if data is not None and data != path.read_bytes():
            elsewhere[name] = folder / f"moved-{number}.pcap"
            elsewhere[name].write_bytes(data)
    there = said_of(list(elsewhere.values()), peers)
    for name, path in elsewhere.items():
        before = {moved_key(flow): row for flow, row in known[name].items() if moved_key(flow) != flow}
        yield from _rows(name, there[path], before)


def _rows(capture: str, said: Said, before: Mapping[str, Row] | None = None) -> Iterator[Row]:
    """Yield the flows that anybody names; with ``before`` those that were named there."""
    flows = said.ours.keys() | said.suricata.keys() | said.ndpi.keys() if before is None else before
    for flow in sorted(flows):
        transport = flow.split(" ")[0]
        theirs = (of_ndpi(name, transport) for name in said.ndpi.get(flow, ()))
        row = Row(
            capture, flow,
            tuple(map(of_eve, said.ours.get(flow, ()))), tuple(map(of_eve, said.suricata.get(flow, ()))),
            tuple(dict.fromkeys(name for name in theirs if name is not None)),
            before[flow] if before is not None else None,
        )  # fmt: skip
        if row.names:
            yield row


def _captures(given: Iterable[Path], folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the captures with the names that they have in `CHECKED`."""
    public = sorted((SHARED / "suricata-verify" / "tests").rglob("*.pcap"))
    for path in list(given) or [*public, *sorted((ROOT / "pcaps").glob("*.pcap"))]:
        yield f"{path.resolve().parent.name}/{path.name}", path.resolve()
    if not given:
        yield from ((f"made/{path.name}", path) for path in conversations(folder))


def _lines(rows: Sequence[Row]) -> Iterator[list[str]]:
    """Yield the lines of the table."""
    for name in sorted({name for row in rows for name in row.names}):
        usual = [row for row in rows if name in row.names and row.before is None]
        elsewhere = [row for row in rows if name in row.names and row.before is not None]
        agree = sum(all(name in said for said in (row.ours, row.suricata, row.ndpi) if said) for row in usual)
        numbers = [len({row.capture for row in usual}), len(usual), *_by_whom(usual, name), agree]
        yield [name, *map(str, [*numbers, len(elsewhere), *_by_whom(elsewhere, name)])]


def _by_whom(rows: Iterable[Row], name: str) -> list[int]:
    """Return how many of the flows each engine takes for a protocol."""
    return [sum(name in getattr(row, who) for row in rows) for who in WHO]


def _print(lines: Iterable[Sequence[str]]) -> None:
    table = Table(title="flows by protocol; moved: at a port that nobody knows")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == COLUMNS[0] else "right")
    for line in lines:
        table.add_row(*line)
    console = Console()
    (console if console.is_terminal else Console(width=WIDTH)).print(table)


def _markdown(lines: Iterable[Sequence[str]]) -> str:
    rows = [COLUMNS, ["---", *["--:"] * (len(COLUMNS) - 1)], *([f"`{line[0]}`", *line[1:]] for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _differ(rows: Iterable[Row], peers: Peers) -> int:
    """Print the differences, those with a cause by cause; return 1 where one has none."""
    checked, known = dict(_checked()), Counter[str]()
    unknown: dict[str, list[str]] = defaultdict(list)
    stale = set(checked)
    for row in rows:
        for difference in row.differences():
            stale.discard(difference)
            if (cause := checked.get(difference)) is not None:
                known[cause] += 1
            else:
                unknown[difference].append(f"{row.flow}{' (moved)' * (row.before is not None)}")
    for cause, count in known.most_common():
        print(f"{count:5}  {cause}")
    for difference, flows in sorted(unknown.items()):
        print(f"not in {CHECKED.name}: {difference}  {len(flows)} flows, as {flows[0]}")
    for difference in sorted(stale):
        print(f"in {CHECKED.name}, and no difference any more: {difference}")
    for late in peers.late:
        print(f"too late: {late}")
    print(f"{sum(known.values())} flows differ with a cause, {sum(map(len, unknown.values()))} without")
    return 1 if unknown else 0


def _checked() -> Iterator[tuple[str, str]]:
    for line in CHECKED.read_text().splitlines():
        if line and not line.startswith("#"):
            what, _, cause = line.partition("  ")
            yield what, cause


if __name__ == "__main__":
    raise SystemExit(main())
