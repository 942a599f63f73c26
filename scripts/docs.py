"""Write the parts of docs/ that the code already says: the settings, the hooks, the buffers, Suricata's keywords.

    .venv/bin/python scripts/docs.py

`tests/test_docs.py` fails while a page differs from what this would write.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # run as a script, this file's own folder comes first

from ids.authoring.reference.pages import buffers_page, keywords_page  # noqa: E402
from ids.config import Config  # noqa: E402
from ids.plugin import hookspec  # noqa: E402
from ids.rules.model.buffers import CATALOGUE, PARSED  # noqa: E402
from ids.types import Direction  # noqa: E402

SETTINGS_PAGE = ROOT / "docs/settings.md"

KEYWORDS_PAGE = ROOT / "docs/keywords.md"
BUFFERS_PAGE = ROOT / "docs/buffers.md"

SETTINGS_HEAD = """\
# Settings

<!-- Written by scripts/docs.py from the settings' own declarations; change them there. -->

Settings are a YAML file (`-c FILE`), over which `--set key.path=value` has the last word. Every setting has a default,
so an empty file is a valid one. An unknown key is refused with its place and the nearest key that exists.
`ids check -c FILE` shows what is wrong with a file, and a start and a reload refuse it. Commands that look, unblock or
take the gate down (`ids block`, `allow`, `why`, `stats`, `top`, `alerts`, `penalties`, `doctor`, `detach`) warn of each
fault and go on with what can be read of it; only where a fault may hide which engine is meant (`instance`, its
directories) do they want that said: `--set instance=NAME`.

Numbers carry their unit in the name: `_s` seconds, `_bytes` bytes; large ones may be grouped: `1_048_576`.

```yaml
interfaces: [outside, inside]
vars:
  HOME_NET: [203.0.113.0/24, "2001:db8:2::/64"]
respond:
  mode: shadow          # first count what would be dropped; then: enforce
  allow: [192.0.2.10]   # never block these
eve:
  path: /var/log/ids/eve.json
```
"""


KINDS = {
    "bool": "true or false",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "Path": "path",
    "NoneType": "null",
    "Any": "anything",
    "IPvAnyNetwork": "network",
    "IPvAnyAddress": "address",
}
"""Words for the types of settings."""


def groups(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Walk the tree of settings: the dotted path of each group, and its model; the outermost has no path."""
    yield path, model
    for name, field in model.model_fields.items():
        if _is_group(field):
            yield from groups(field.annotation, f"{path}.{name}" if path else name)  # type: ignore[arg-type]


def settings_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the settings of one group, without the groups inside it."""
    return {name: field for name, field in model.model_fields.items() if not _is_group(field)}


def settings_page() -> str:
    """Return docs/settings.md."""
    parts = [SETTINGS_HEAD]
    for path, model in groups(Config):
        about = (inspect.getdoc(model) or "").replace("\n", " ")
        parts.append(f"\n## {f'`{path}`' if path else 'At the top'}\n\n{about}\n")
        rows = [_row(name, field) for name, field in settings_of(model).items()]
        if rows:
            parts.append(
                "\n| setting | takes | default | what it does |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"
            )
    return "".join(parts)


def _is_group(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _row(name: str, field: FieldInfo) -> str:
    cells = [f"`{name}`", _takes(field), f"`{_default(field)}`", field.description or ""]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    elif isinstance(value, Path):
        value = str(value)
    elif isinstance(value, int) and not isinstance(value, bool) and value > 9999:
        return f"{value:_}"
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")


def _takes(field: FieldInfo) -> str:
    """Describe the values that a setting takes, its bounds included."""
    takes = _kind(field.annotation)
    for signs in field.metadata:
        for attribute, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
            bound = getattr(signs, attribute, None)
            if bound is not None:
                takes += f", {words} {int(bound):_}" if bound == int(bound) else f", {words} {bound}"
        pattern = getattr(signs, "pattern", None)
        if pattern is not None:
            takes += f" like `{pattern}`"
    return takes


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_kind(arguments[0])}"
    if origin is dict:
        return f"mapping of {_kind(arguments[0])} to {_kind(arguments[1])}"
    if origin is Union or type(annotation).__name__ == "UnionType":
        return " or ".join(_kind(one) for one in arguments)
    name = getattr(annotation, "__name__", str(annotation))
    return KINDS.get(name, name)


def hooks() -> dict[str, str]:
    """Return each hook's name and its exact signature, in the order of a packet's life."""
    found = {}
    for name, function in vars(hookspec).items():
        if name.startswith("ids_") and callable(function):
            found[name] = f"def {name}{inspect.signature(function)}".replace("'", "")
    return found


def hooks_section() -> str:
    """Return the reference of all hooks, as docs/plugins.md has it."""
    parts = []
    for name, signature in hooks().items():
        about = inspect.getdoc(getattr(hookspec, name)) or ""
        parts.append(f"### {name}\n\n```python\n{signature}\n```\n\n{about.replace('``', '`')}\n")
    return "\n".join(parts)


def buffers_section() -> str:
    """Return the table of the buffers that some parser fills, as docs/rules.md has it."""
    senders = {Direction.TO_SERVER: "client", Direction.TO_CLIENT: "server", None: "both"}
    rows = [
        f"| `{buffer.name}` | {senders[buffer.side]} | {buffer.text} |"
        for buffer in CATALOGUE.values()
        if buffer.protocol is None or buffer.protocol in PARSED
    ]
    return "\n".join(["| buffer | sent by | what it is |", "| --- | --- | --- |", *rows]) + "\n"


SECTIONS: dict[str, dict[str, Callable[[], str]]] = {
    "docs/plugins.md": {"hooks": hooks_section},
    "docs/rules.md": {"buffers": buffers_section},
}
"""Pages that are written by hand but for these sections, each between two marks."""


def pages() -> dict[Path, str]:
    """Return every page that this writes, as it should be; raises ValueError where a mark is missing."""
    found = {SETTINGS_PAGE: settings_page(), KEYWORDS_PAGE: keywords_page(), BUFFERS_PAGE: buffers_page()}
    for name, sections in SECTIONS.items():
        text = (ROOT / name).read_text()
        for section, write in sections.items():
            begin, end = f"<!-- {section}: written by scripts/docs.py -->\n", f"<!-- {section}: end -->"
            before, mark, rest = text.partition(begin)
            _, close, after = rest.partition(end)
            if not (mark and close):
                raise ValueError(f"{name} lacks the marks of {section}: {begin.strip()} ... {end}")
            text = f"{before}{mark}\n{write()}\n{close}{after}"
        found[ROOT / name] = text
    return found


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.write_text(text)


if __name__ == "__main__":
    main()
