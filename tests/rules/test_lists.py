"""Lists from files: what is in them, what is refused, and what a million entries take."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.errors import RuleError
from ids.rules.language.loader import load_rules
from ids.rules.model import lists
from ids.rules.model.lists import Learned, Members, encoded, learned_list, load_list, shared_list


def write(directory: Path, *lines: bytes) -> Path:
    """Write a list of these lines."""
    path = directory / "list.txt"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def test_a_plain_list_has_its_lines(tmp_path: Path) -> None:
    found = load_list(write(tmp_path, b"# comment", b"", b"evil", b"  worse\r", b"evil"), "string")
    assert len(found) == 2
    assert b"evil" in found
    assert b"worse" in found
    assert b"evi" not in found
    assert b"# comment" not in found


def test_a_dataset_has_strings_in_base64(tmp_path: Path) -> None:
    found = load_list(write(tmp_path, base64.b64encode(b"a b\n")), "string", "dataset")
    assert b"a b\n" in found


@pytest.mark.parametrize("kind", ["md5", "sha256"])
def test_digests_are_spelt_in_hexadecimal_and_looked_up_raw(tmp_path: Path, kind: str) -> None:
    value = hashlib.new(kind, b"x")
    found = load_list(write(tmp_path, value.hexdigest().upper().encode()), kind, "dataset")
    assert value.digest() in found
    assert value.hexdigest().encode() not in found


@pytest.mark.parametrize("kind", ["md5", "sha1", "sha256"])
def test_a_list_of_checksums_is_asked_by_the_buffers_of_files(tmp_path: Path, kind: str) -> None:
    """Whoever writes it: `sha256sum` puts a name behind each; and a buffer that only looks like a digest is none."""
    value = hashlib.new(kind, b"x").hexdigest()
    for form, line in (("plain", value), ("sums", f"{value.upper()}  bad name.exe"), ("sums", value)):
        found = load_list(write(tmp_path, line.encode(), b"# more"), kind, form)
        assert value.encode() in found
        assert hashlib.new(kind, b"x").digest() in found
        assert value[:-1].encode() + b"g" not in found
    with pytest.raises(RuleError, match="hexadecimal"):
        load_list(write(tmp_path, b"abc  name"), kind, "sums")


def test_a_domain_is_in_the_list_with_all_below_it(tmp_path: Path) -> None:
    found = load_list(write(tmp_path, b"Evil.example.", b".co.example"), "domain")
    assert b"evil.example" in found
    assert b"www.EVIL.example." in found
    assert b"notevil.example" not in found
    assert b"example" not in found
    assert b"a.co.example" in found
    assert b"." * 100_000 not in found


def test_addresses_are_single_or_ranges_or_prefixes(tmp_path: Path) -> None:
    lines = b"192.0.2.1", b"198.51.100.0/24", b"203.0.113.5-203.0.113.9", b"2001:db8::/32"
    found = load_list(write(tmp_path, *lines), "ip")

    def has(text: str) -> bool:
        return ipaddress.ip_address(text).packed in found

    assert has("192.0.2.1")
    assert not has("192.0.2.2")
    assert has("198.51.100.255")
    assert not has("198.51.101.0")
    assert has("203.0.113.9")
    assert not has("203.0.113.10")
    assert has("2001:db8:ffff::1")
    assert not has("2001:db9::")
    assert has("::ffff:192.0.2.1")
    assert b"192.0.2.1" not in found  # raw bytes are looked up, not text


@given(st.lists(st.tuples(st.integers(0, 250), st.integers(0, 20)), max_size=12), st.integers(0, 255))
def test_ranges_that_overlap_are_one(ranges: list[tuple[int, int]], asked: int) -> None:
    texts = [f"192.0.2.{first}-192.0.2.{min(255, first + size)}".encode() for first, size in ranges]
    found = Members("ip", b"".join(encoded(text, "ip") for text in texts))
    expected = any(first <= asked <= first + size for first, size in ranges)
    assert (bytes((192, 0, 2, asked)) in found) is expected


@given(st.sets(st.binary(max_size=20), max_size=30), st.binary(max_size=20))
def test_a_list_has_what_was_put_in_and_nothing_else(entries: set[bytes], asked: bytes) -> None:
    found = Members("string", b"".join(encoded(one, "string") for one in entries))
    assert len(found) == len(entries)
    assert all(one in found for one in entries)
    assert (asked in found) is (asked in entries)


def test_of_a_reputation_file_those_count_whose_number_does(tmp_path: Path) -> None:
    path = write(tmp_path, base64.b64encode(b"bad") + b",250", base64.b64encode(b"fair") + b",100")
    found = load_list(path, "string", "reputation", (">", 200))
    assert b"bad" in found
    assert b"fair" not in found


@pytest.mark.parametrize(
    ("kind", "form", "line"),
    [
        ("md5", "plain", b"abc"),
        ("md5", "plain", b"00" * 15),
        ("sha256", "dataset", b"zz" * 32),
        ("string", "dataset", b"not base64!"),
        ("ip", "plain", b"192.0.2.256"),
        ("ip", "plain", b"192.0.2.0/33"),
        ("ip", "plain", b"192.0.2.9-192.0.2.1"),
        ("ip", "plain", b"192.0.2.0/x"),
        ("ip", "plain", "192.0.2.\u0661".encode()),
        ("string", "reputation", b"YQ==,x"),
        ("string", "plain", b"x" * 9000),
    ],
)
def test_what_is_no_entry_is_refused_with_its_line(tmp_path: Path, kind: str, form: str, line: bytes) -> None:
    good = {"md5": b"00" * 16, "sha256": b"00" * 32, "ip": b"192.0.2.1", "string": b"YQ=="}[kind]
    with pytest.raises(RuleError, match=r"list\.txt:2"):
        load_list(write(tmp_path, good + (b",1" if form == "reputation" else b""), line), kind, form)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no-such-list"):
        load_list(tmp_path / "no-such-list", "string")


def test_a_list_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_ENTRIES", 2)
    with pytest.raises(RuleError, match="more than 2 entries"):
        load_list(write(tmp_path, b"a", b"b", b"c"), "string")


def test_a_file_that_has_not_changed_is_read_once(tmp_path: Path) -> None:
    path = str(write(tmp_path, b"a"))
    first = shared_list(path, "string")
    assert shared_list(path, "string") is first
    write(tmp_path, b"a", b"bb")
    assert b"bb" in shared_list(path, "string")


def test_a_list_is_kept_by_its_file(tmp_path: Path) -> None:
    kept = pickle.dumps(load_list(write(tmp_path, b"a"), "string"))
    write(tmp_path, b"a", b"bb")
    assert b"bb" in pickle.loads(kept)


def test_rules_learn_a_list() -> None:
    seen = Learned("seen", "string")
    assert seen.add(b"a")
    assert not seen.add(b"a")
    assert b"a" in seen
    assert seen.remove(b"a")
    assert not seen.remove(b"a")
    assert b"a" not in seen
    assert len(seen) == 0


def test_what_a_file_has_can_be_taken_out_and_put_in_again(tmp_path: Path) -> None:
    seen = Learned("seen", "string", load_list(write(tmp_path, b"a"), "string"))
    assert not seen.add(b"a")
    assert seen.remove(b"a")
    assert b"a" not in seen
    assert seen.add(b"a")
    assert b"a" in seen


def test_a_list_of_digests_learns_nothing_else() -> None:
    assert not Learned("seen", "md5").add(b"short")
    assert Learned("seen", "md5").add(bytes(16))


def test_what_is_learnt_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_LEARNED", 2)
    seen = Learned("seen", "string")
    assert [seen.add(b"%d" % number) for number in range(3)] == [True, True, False]


def test_a_reload_finds_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "LEARNED", {})
    learned_list("seen", "string").add(b"a")
    assert b"a" in learned_list("seen", "string")
    assert b"a" in pickle.loads(pickle.dumps(learned_list("seen", "string")))
    assert b"a" not in learned_list("seen", "domain")
    monkeypatch.setattr(lists, "MAX_SETS", 2)
    with pytest.raises(ValueError, match="more than 2"):
        learned_list("another", "string")


def test_a_list_that_cannot_be_read_is_named_where_a_rule_asks_for_it(tmp_path: Path) -> None:
    rules = tmp_path / "r.yaml"
    rules.write_text("rules:\n  - {title: x, sid: 1, match: [http.uri: {in_list: {file: none.txt}}]}\n")
    (error,) = load_rules([rules]).errors
    assert (error.location.path, error.location.line) == (str(rules), 2)
    assert "none.txt: the list cannot be read: No such file" in error.message
    (tmp_path / "none.txt").write_bytes(b"aGk=\n?\n")
    rules.write_text(rules.read_text().replace("none.txt", "none.txt, format: dataset"))
    (error,) = load_rules([rules]).errors
    assert (error.location.path, error.location.line) == (str(tmp_path / "none.txt"), 2)


@pytest.mark.parametrize(
    "entry", ["*.evil.example", "http://evil.example/", "0.0.0.0 evil.example", "||evil.example^", "a:80"]
)
def test_what_is_no_domain_is_no_silent_entry(tmp_path: Path, entry: str) -> None:
    """It would never match, and nobody would know."""
    (tmp_path / "a.txt").write_text(f"good.example\n{entry}\n")
    with pytest.raises(RuleError) as caught:
        load_list(tmp_path / "a.txt", "domain")
    assert caught.value.location.line == 2
    assert "a name is expected" in caught.value.message


@pytest.mark.parametrize(
    "entry", ["evil.example", ".Evil.example.", "xn--bcher-kva.example", "bücher.example", "_dmarc.a_b"]
)
def test_a_domain_is_one(tmp_path: Path, entry: str) -> None:
    (tmp_path / "a.txt").write_text(entry + "\n")
    assert len(load_list(tmp_path / "a.txt", "domain")) == 1
