"""Man pages say what the help says, and roff takes them for what they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from ids.cli import VERBS, cli
from scripts import man

PAGES = man.pages()


def test_there_is_a_page_for_each_verb_and_one_for_all() -> None:
    assert set(PAGES) == {"ids.1", *(f"ids-{verb}.1" for verb in VERBS)}
    for verb in VERBS:
        assert f"\\fBids {verb}\\fR" in PAGES["ids.1"]


@pytest.mark.parametrize("verb", VERBS)
def test_each_option_of_each_command_is_there(verb: str) -> None:
    page = PAGES[f"ids-{verb}.1"]
    top = cli.get_command(click.Context(cli), verb)
    assert top is not None
    for words, command in man.commands(top, ("ids", verb)):
        assert f"\\fB{man.escaped(' '.join(words))}\\fR" in page
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert man.escaped(option.opts[0]) in page, (words, option.name)


def test_text_is_never_taken_for_an_order() -> None:
    assert man.escaped(".TH\n'a\nb\\n -x `ids run`") == "\\&.TH\n\\&'a\nb\\en \\-x \\fBids run\\fR"


def test_roff_has_no_complaint(tmp_path: Path) -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    for name, text in PAGES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [groff, "-man", "-Tutf8", "-ww", "-K", "utf8", *sorted(map(str, tmp_path.iterdir()))],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    complaints = [line for line in done.stderr.splitlines() if "can't break line" not in line]
    assert (done.returncode, complaints) == (0, [])
    assert "Interface to guard" in done.stdout
