"""The documentation says what the code does: every hook, setting and verb is there, every example works."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from ids.cli import cli
from ids.config import Config, load_config
from ids.kernel.contract import REASON_NAMES
from ids.rules.language.loader import load_rules
from scripts import docs

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("[bpr]*/**/*.md")])
TEXT = {path: path.read_text() for path in PAGES}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|[`\s/])ids ([a-z]+(?: [a-z]+)?)")


def fenced(path: Path, language: str) -> list[str]:
    """Return the code of a page, of one language."""
    return [code for kind, code in FENCE.findall(TEXT[path]) if kind == language]


def commands(group: click.Command, words: str = "") -> Iterator[str]:
    """Return every verb, and every verb of a group, such as ``rules check``."""
    if not isinstance(group, click.Group):
        yield words
        return
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{words} {name}"
        yield from commands(command, f"{words} {name}".strip())


def test_what_the_code_already_says_is_written_from_it() -> None:
    stale = [path.name for path, text in docs.pages().items() if path.read_text() != text]
    assert stale == [], "run `make docs`"


@pytest.mark.parametrize(("name", "signature"), docs.hooks().items())
def test_every_hook_is_documented_with_its_exact_signature(name: str, signature: str) -> None:
    assert f"### {name}\n\n```python\n{signature}\n```" in TEXT[ROOT / "docs/plugins.md"]


def test_every_setting_is_documented() -> None:
    for path, model in docs.groups(Config):
        for name, field in docs.settings_of(model).items():
            assert f"| `{name}` |" in TEXT[ROOT / "docs/settings.md"]
            assert field.description, f"{path}.{name} has no description"


def test_every_verb_is_documented() -> None:
    undocumented = [words for words in commands(cli) if not any(f"ids {words}" in text for text in TEXT.values())]
    assert undocumented == []


def test_every_reason_and_every_map_of_the_fast_path_is_documented() -> None:
    maps = re.findall(r"^BPF_\w+\((?:.*, )?(ids_\w+),", (ROOT / "bpf/ids_maps.h").read_text(), re.MULTILINE)
    assert {"ids_config", "ids_flows6", "ids_programs", "ids_large"} <= set(maps), "the pattern finds every kind"
    named = set(re.findall(r"`([\w.]+)`", TEXT[ROOT / "docs/fastpath.md"]))
    assert sorted({*REASON_NAMES.values(), *maps} - named) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_verb_in_the_documentation_exists(path: Path) -> None:
    verbs = list(commands(cli))
    groups = {words.split()[0] for words in verbs if " " in words}
    code = "\n".join([*re.findall(r"`([^`\n]+)`", TEXT[path]), *fenced(path, "sh"), *fenced(path, "text")])
    for words in COMMAND.findall(code):
        first = words.split()[0]
        assert first in groups or first in verbs, f"`ids {words}`"
        assert first in verbs or words == first or words in verbs, f"`ids {words}`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_every_target_of_make_exists(path: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT[path]):
        assert (path.parent / link).exists(), link
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z]+)", TEXT[path], re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def test_the_settings_in_the_documentation_are_good(tmp_path: Path) -> None:
    examples = fenced(ROOT / "docs/settings.md", "yaml")
    assert examples
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example)
        load_config(file)


def test_the_rules_in_the_documentation_load_without_complaint(tmp_path: Path) -> None:
    page = ROOT / "docs/rules.md"
    examples = [(code, "yaml") for code in fenced(page, "yaml")] + [(code, "yar") for code in fenced(page, "yara")]
    assert {suffix for _, suffix in examples} == {"yaml", "yar"}
    for number, (code, suffix) in enumerate(examples):
        (tmp_path / f"{number}.{suffix}").write_text(code)
        for name in re.findall(r"file: ([\w.-]+)", code):
            (tmp_path / name).write_text("")
    loaded = load_rules([tmp_path])
    assert [str(error) for error in loaded.errors] == []
    assert loaded.rules
    assert loaded.yara.rules


EXAMPLES = {
    name: code
    for code in fenced(ROOT / "docs/plugins.md", "python")
    for name in re.findall(r"\A# (\w+)\.py$", code, re.MULTILINE)
}
"""The modules in docs/plugins.md, plugins and their tests, by the names in their first lines."""
CASES = [
    (module, function)
    for module, code in EXAMPLES.items()
    for function in re.findall(r"^def (test_\w+)", code, re.MULTILINE)
]


def test_every_hook_has_an_example() -> None:
    shown = {hook for code in EXAMPLES.values() for hook in re.findall(r"@hookimpl\n\s*def (ids_\w+)", code)}
    assert sorted(docs.hooks().keys() - shown) == []


def test_every_example_has_a_test() -> None:
    tested = {name.removeprefix("test_") for name in EXAMPLES if name.startswith("test_")}
    assert tested == {name for name in EXAMPLES if not name.startswith("test_")}


def test_every_piece_of_python_in_the_documentation_of_plugins_is_run_or_a_signature() -> None:
    pieces = fenced(ROOT / "docs/plugins.md", "python")
    assert {*pieces} == {*EXAMPLES.values(), *(f"{signature}\n" for signature in docs.hooks().values())}


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the examples be imported, each anew in each test."""
    folder = tmp_path / "examples"
    folder.mkdir()
    for name, code in EXAMPLES.items():
        assert name not in sys.modules, f"an example called like a module that exists: {name}"
        (folder / f"{name}.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    yield
    for name in EXAMPLES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("module", "function"), CASES)
def test_the_examples_in_the_documentation_work(
    examples: None, module: str, function: str, request: pytest.FixtureRequest
) -> None:
    test = getattr(importlib.import_module(module), function)
    test(**{name: request.getfixturevalue(name) for name in inspect.signature(test).parameters})
