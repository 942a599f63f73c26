"""An update: what is good comes into force and is kept; what is not leaves in force what is, and is tried again."""

from __future__ import annotations

import base64
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ids.config import Config, load_config
from ids.errors import IdsError, UsageError
from ids.feeds import Feed
from ids.fetch.download import Fetched, Stamp
from ids.fetch.shelf import Busy, History, Shelf
from ids.fetch.update import FIRST_RETRY_S, Outcome, due_ns, update
from ids.settings.feeds import FeedSettings
from tests.fetch.test_download import Answer, serving
from tests.fetch.test_verify import KEY, signed
from tests.shared import ROOT

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND


class Kernel:
    """What is in force."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.applied = 0
        self.refuses = False

    def apply(self, feed: FeedSettings, parsed: Feed) -> tuple[int, int]:
        if self.refuses:
            raise UsageError("covers 192.0.2.1, of this host")
        before, self.held = self.held, sorted(map(str, parsed.networks()))
        self.applied += 1
        return len(set(self.held) - set(before)), len(set(before) - set(self.held))


class Source:
    """A feed in a file, and where it is kept."""

    def __init__(self, tmp_path: Path, **settings: Any) -> None:
        self.file = tmp_path / "feed.txt"
        self.settings = FeedSettings.model_validate({"label": "x", "file": str(self.file), **settings})
        self.shelf = Shelf(str(tmp_path / "state"), "default", "x")
        self.kernel = Kernel()

    def update(self, now_ns: int = NOW, **options: Any) -> Outcome:
        return update(self.settings, self.shelf, now_ns, self.kernel.apply, **options)


def test_a_feed_comes_into_force_and_is_kept(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.file.write_text("192.0.2.1\n192.0.2.2\n")
    outcome = source.update()
    assert (outcome.result, outcome.networks, outcome.added) == ("updated", 2, 2)
    assert source.shelf.good() == b"192.0.2.1\n192.0.2.2\n"
    source.file.write_text("192.0.2.2\n")
    outcome = source.update(NOW + SECOND)
    assert (outcome.result, outcome.added, outcome.deleted) == ("updated", 0, 1)
    assert source.update(NOW + 2 * SECOND).result == "unchanged"
    assert source.kernel.applied == 3, "put into force again, for what may have been lost"
    assert source.shelf.history().changed_ns == NOW + SECOND


@pytest.mark.parametrize("bad", ["", "<html>\nnot\na\nfeed\n</html>\n", "0.0.0.0/0\n"])
def test_what_makes_no_sense_leaves_in_force_what_is(tmp_path: Path, bad: str) -> None:
    source = Source(tmp_path)
    source.file.write_text("192.0.2.1\n")
    source.update()
    source.file.write_text(bad)
    outcome = source.update(NOW + SECOND)
    assert outcome.result == "failed"
    assert outcome.error
    assert source.kernel.held == ["192.0.2.1/32"]
    assert source.shelf.good() == b"192.0.2.1\n"
    history = source.shelf.history()
    assert (history.failures, history.good_ns) == (1, NOW)


def test_a_refusal_of_the_list_is_a_failure_like_any_other(tmp_path: Path) -> None:
    source = Source(tmp_path)
    source.file.write_text("192.0.2.1\n")
    source.kernel.refuses = True
    assert "of this host" in source.update().error
    assert source.shelf.good() is None


def test_after_a_failure_it_is_tried_again_sooner_and_then_less_often(tmp_path: Path) -> None:
    source = Source(tmp_path, every="1h")
    pauses = []
    for _ in range(5):
        outcome = source.update()
        pauses.append(outcome.next_s)
        assert due_ns(source.settings, source.shelf.history()) == NOW + outcome.next_s * SECOND
    assert pauses == [FIRST_RETRY_S, 2 * FIRST_RETRY_S, 4 * FIRST_RETRY_S, 8 * FIRST_RETRY_S, 3600]
    source.file.write_text("192.0.2.1\n")
    assert source.update().next_s == 3600
    assert due_ns(source.settings, History()) == 0, "one that was never tried is due"


def test_what_has_not_changed_is_taken_from_the_shelf(tmp_path: Path) -> None:
    asked: list[str | None] = []

    def answer(path: str, headers: dict[str, str]) -> Answer:
        if path.endswith(".minisig"):
            return 200, {}, signed(b"192.0.2.1\n")
        asked.append(headers.get("If-None-Match"))
        return (304, {}, b"") if asked[-1] else (200, {"ETag": '"1"'}, b"192.0.2.1\n")

    with serving(answer) as url:
        source = Source(
            tmp_path, file=None, url=f"{url}/feed", signature=f"{url}/feed.minisig", minisign_key=KEY
        )  # fmt: skip
        assert source.update().result == "updated"
        assert source.update().result == "unchanged"
        assert asked == [None, '"1"']
        (tmp_path / "state/default/feeds/x/good").write_bytes(b"203.0.113.0/24\n")
        assert source.update().result == "unchanged"
        assert asked[2:] == ['"1"', None], "what was changed on the disk is fetched anew"
    assert source.kernel.held == ["192.0.2.1/32"]


@pytest.mark.parametrize("force", [False, True])
def test_nothing_new_to_a_request_for_all_there_is_empties_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    source = Source(tmp_path)
    source.file.write_text("192.0.2.1\n")
    source.update()
    good = tmp_path / "state/default/feeds/x/good"
    good.write_bytes(b"damaged")
    monkeypatch.setattr("ids.fetch.update.read", lambda *_: Fetched(None, Stamp()))
    outcome = source.update(NOW + SECOND, force=force)
    assert outcome.result == "failed"
    assert "the answer is 304" in outcome.error
    assert source.kernel.held == ["192.0.2.1/32"]
    assert good.read_bytes() == b"damaged"


def test_what_is_not_genuine_is_refused(tmp_path: Path) -> None:
    signature = tmp_path / "signature"
    source = Source(tmp_path, signature=str(signature), minisign_key=KEY)
    source.file.write_bytes(b"192.0.2.1\n")
    signature.write_bytes(signed(b"192.0.2.1\n"))
    assert source.update().result == "updated"
    source.file.write_bytes(b"192.0.2.2\n")
    assert "does not hold" in source.update().error
    assert "does not hold" in source.update(force=True).error, "force is for what it holds, not for who sent it"
    summed = Source(tmp_path, label="y", sha256=str(signature))
    assert "no SHA-256" in summed.update().error
    assert source.kernel.held == ["192.0.2.1/32"]


def test_two_updates_do_not_meet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(str(tmp_path), "default", "x")
    with shelf.locked(), pytest.raises(Busy, match="another process"), shelf.locked():
        pass
    with ExitStack() as other:
        other.enter_context(shelf.locked())
        waits: list[float] = []
        other.callback(waits.append, 0.0)
        monkeypatch.setattr("ids.fetch.shelf.time.sleep", lambda _: other.close())
        with shelf.locked(wait_s=60):
            assert len(waits) == 1, "it is waited for until it ends"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"failures": "many", "source": 7}'])
def test_a_damaged_history_begins_anew(tmp_path: Path, text: str) -> None:
    shelf = Shelf(str(tmp_path), "default", "x")
    shelf.keep(History(failures=3))
    (tmp_path / "default/feeds/x/state.json").write_text(text)
    assert shelf.history() == History()


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({"label": "x"}, "either its url or its file"),
        ({"label": "x", "url": "https://x", "file": "y"}, "either its url or its file"),
        ({"label": "x", "url": "http://x"}, "https, or a signature"),
        ({"label": "x", "url": "https://x", "signature": "https://x.sig"}, "goes with one of"),
        ({"label": "x", "url": "https://x", "minisign_key": KEY}, "goes with one of"),
        ({"label": "../x", "file": "y"}, "label"),
        ({"label": "x", "file": "y", "every": "soon"}, "time span"),
        ({"label": "x", "file": "y", "every": 5}, "60"),
    ],
)
def test_settings_that_cannot_be_are_refused(feed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config.model_validate({"feeds": [feed]})


def test_two_feeds_with_one_label_are_refused() -> None:
    with pytest.raises(IdsError, match="two feeds"):
        load_config(None, ["feeds=[{label: x, file: a}, {label: x, file: b}]"])
    config = load_config(None, ["feeds=[{label: x, file: a, every: 6h, for: 2d, shadow: true}]"])
    assert (config.feeds[0].every, config.feeds[0].ttl_s) == (6 * 3600, 2 * 86400)
    assert base64.b64decode(KEY)


def test_every_setting_of_a_feed_is_documented() -> None:
    text = (ROOT / "docs/feeds.md").read_text()
    names = [field.alias or name for name, field in FeedSettings.model_fields.items()]
    assert [name for name in names if f"| `{name}` |" not in text] == []
