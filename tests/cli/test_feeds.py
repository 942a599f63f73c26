"""`ids feeds` on a real fast path: a good version is in force, and stays when the next one is bad."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from ids.cli import main
from ids.fetch.shelf import Shelf
from ids.kernel import Blocklist
from ids.state import lists
from tests.cli.conftest import Ids, rows_of

pytestmark = [pytest.mark.root, pytest.mark.xdp]


def test_a_feed_is_kept_up_to_date(tmp_path: Path, pins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, settings = tmp_path / "feed.txt", tmp_path / "ids.yaml"
    settings.write_text(
        f"feeds: [{{label: x, file: {file}, every: 1h, for: 2d}}]\nengine: {{state_dir: {tmp_path / 'state'}}}\n"
        f"fastpath: {{pin_dir: {pins}}}\nrespond: {{trusted_proxies: [198.51.100.7]}}\n"
    )

    def ids(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*words, "-c", str(settings)])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    def blocked() -> list[str]:
        with Blocklist.open(pins / "default") as blocks:
            return [str(entry.network) for entry in blocks.list() if entry.label == "x"]

    assert "not fetched yet" in ids("feeds", "list")[1]
    file.write_text("203.0.113.7\n203.0.113.9\n")
    code, out, _ = ids("feeds", "update", "--due")
    assert (code, "2 networks, 2 new" in out) == (0, True)
    assert sorted(blocked()) == ["203.0.113.7/32", "203.0.113.9/32"]
    assert (tmp_path / "state/default" / lists.FILE_NAME).exists(), "kept over a reboot, as what is imported by hand"
    assert ids("feeds", "update", "--due") == (0, "", ""), "its time has not come"
    for bad, why in (("<html>", "holds no network"), ("198.51.100.0/24\n", "trusted_proxies"), ("127.0.0.1\n", "host")):
        file.write_text(bad)
        code, _, err = ids("feeds", "update", "x")
        assert code == 1
        assert why in err
        assert "what is in force stays, next in" in err
        assert len(blocked()) == 2
    (row,) = rows_of(ids("feeds", "list", "-o", "json")[1])
    assert (row["label"], row["networks"], row["failures"]) == ("x", 2, 3)
    file.write_text("203.0.113.9\n")
    assert "1 gone" in ids("feeds", "update", "x")[1]
    assert blocked() == ["203.0.113.9/32"]
    code, _, err = ids("feeds", "update", "y")
    assert (code, "no feed 'y'" in err) == (2, True)


def test_an_update_that_the_engine_has_begun_is_no_failure(
    ids: Ids, blocks: Blocklist, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "feed.txt").write_text("203.0.113.7\n")
    feed = f"feeds=[{{label: x, file: {tmp_path / 'feed.txt'}}}]"
    with ExitStack() as engine:
        engine.enter_context(Shelf(str(tmp_path), "default", "x").locked())
        assert ids("feeds", "update", "--due", "--set", feed) == (0, "", ""), "a timer leaves it to the engine"
        code, _, err = ids("feeds", "update", "--set", feed.replace("label", "timeout_s: 0.01, label"))
        assert (code, err.count("x: ")) == (1, 1), "its name once"
        monkeypatch.setattr("ids.fetch.shelf.time.sleep", lambda _: engine.close())
        code, out, _ = ids("feeds", "update", "--set", feed)
    assert (code, out.startswith("x: updated, 1 entries")) == (0, True)
