"""Files from the wire to events, rules and the store."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ids_plugins.rules import Rules

from ids.protocols.http.ranges import range_fields
from ids.testing import Session, to_client

GET = b"GET /dir/a.txt?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"
EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
PARTS = (
    b'--B\r\nContent-Disposition: form-data; name="t"\r\n\r\nvalue\r\n'
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="x.txt"\r\n\r\nfile one\r\n'
    b'--B\r\nContent-Disposition: form-data; name="f"; filename="y.txt"\r\n\r\nthe second\r\n--B--\r\n'
)


def answer(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> Any:
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return to_client(b"\r\n".join([*lines, b"", body]))


def upload(body: bytes, *headers: bytes, method: bytes = b"POST") -> bytes:
    return b"\r\n".join([method + b" /up HTTP/1.1", b"Host: a", b"Content-Length: %d" % len(body), *headers, b"", body])


def session(tmp_path: Path, rules: str = "", *settings: str) -> Session:
    path = tmp_path / "a.rules"
    path.write_text(rules)
    return Session(f"rules.paths=[{path}]", "files.hashes=[md5, sha1, sha256]", *settings, rules=Rules())


def files(played: Session) -> list[dict[str, Any]]:
    return [event["fileinfo"] for event in played.events if event["event_type"] == "fileinfo"]


def test_a_download_is_a_file(tmp_path: Path) -> None:
    played = session(tmp_path, "", "files.magic=true")
    played.tcp(GET, answer(EICAR, b"Content-Type: text/plain"))
    played.end()
    (event,) = [event for event in played.events if event["event_type"] == "fileinfo"]
    assert (event["src_ip"], event["src_port"], event["dest_ip"]) == ("203.0.113.1", 80, "192.0.2.1")
    assert event["app_proto"] == "http"
    assert (event["http"]["url"], event["http"]["status"], event["http"]["length"]) == ("/dir/a.txt?x=1", 200, 68)
    assert event["fileinfo"] == {
        "filename": "/dir/a.txt", "magic": "EICAR virus test files", "gaps": False, "state": "CLOSED",
        **{name: hashlib.new(name, EICAR).hexdigest() for name in ("md5", "sha1", "sha256")},
        "stored": False, "size": 68, "tx_id": 0,
    }  # fmt: skip


def test_an_upload_waits_for_its_answer(tmp_path: Path) -> None:
    played = session(tmp_path)
    played.tcp(upload(b"hello"), answer(b"", status=b"403 No"), batch=1)
    (event,) = [event for event in played.events if event["event_type"] == "fileinfo"]
    assert (event["src_ip"], event["dest_port"], event["http"]["status"]) == ("192.0.2.1", 80, 403)
    assert event["fileinfo"]["md5"] == hashlib.md5(b"hello").hexdigest(), "its bytes were let go before"


@pytest.mark.parametrize("batch", [1, None])
def test_each_part_of_an_upload_is_a_file(tmp_path: Path, batch: int | None) -> None:
    rules = (
        'alert http any any -> any any (filename:"x.txt"; filesize:8; sid:1;)\n'
        'alert http any any -> any any (filename:"x.txt"; filesize:10; sid:2;)\n'
        'alert http any any -> any any (filename:"y.txt"; filesize:9<>11; file.data; content:"second"; sid:3;)\n'
    )
    played = session(tmp_path, rules)
    played.tcp(upload(PARTS, b"Content-Type: multipart/form-data; boundary=B"), answer(b"ok"), batch=batch)
    played.end()
    assert [(said["filename"], said["size"]) for said in files(played)] == [("x.txt", 8), ("y.txt", 10), ("/up", 2)]
    assert sorted(played.sids) == [1, 3], "a rule is about one file, not about two together"


def test_each_file_of_an_upload_has_its_alert(tmp_path: Path) -> None:
    rules = (
        'alert http any any -> any any (filename:"txt"; sid:1;)\n'
        'alert http any any -> any any (http.uri; content:"/up"; sid:2;)\n'
    )
    played = session(tmp_path, rules)
    played.tcp(upload(PARTS, b"Content-Type: multipart/form-data; boundary=B"), answer(b""))
    played.end()
    assert sorted(played.sids) == [1, 1, 2]
    named = [alert["files"][0]["filename"] for alert in played.alerts if alert["alert"]["signature_id"] == 1]
    assert named == ["x.txt", "y.txt"]


def test_a_relative_store_is_beside_the_events(tmp_path: Path) -> None:
    played = session(tmp_path, "", "files.store_dir=kept", "files.store_all=true", f"eve.path={tmp_path}/logs/eve.json")
    played.tcp(GET, answer(b"one"))
    assert stored(tmp_path / "logs" / "kept") == {}, "the folder of events has to be there"
    (tmp_path / "logs").mkdir()
    played.tcp(GET, answer(b"one"))
    assert stored(tmp_path / "logs" / "kept") == {named(b"one"): b"one"}
    played = session(tmp_path, "", "files.store_dir=kept", "files.store_all=true")
    played.tcp(GET, answer(b"one"))
    assert played.counters["files.store.stored"] == 0


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (b'attachment; filename="a b.pdf"', "a b.pdf"),
        (b"attachment; filename*=UTF-8''na%C3%AFve.pdf", "na\u00efve.pdf"),
        (b"attachment; filename=plain.pdf; x=1", "plain.pdf"),
        (b"inline", "/dir/a.txt"),
        (b'attachment; filename="a\xff.pdf"', "a\\xff.pdf"),
        (b'attachment; filename="../../etc/passwd"', "../../etc/passwd"),
    ],
)
def test_a_file_is_called_what_its_message_says(tmp_path: Path, disposition: bytes, name: str) -> None:
    played = session(tmp_path)
    played.tcp(GET, answer(b"x", b"Content-Disposition: " + disposition))
    assert [said["filename"] for said in files(played)] == [name]


def test_what_is_beyond_the_limit_of_bodies_is_no_part_of_a_file(tmp_path: Path) -> None:
    played = session(tmp_path, "", "protocols.http.response_body_bytes=5000")
    played.tcp(GET, answer(b"a" * 5000), GET, answer(b"a" * 5001), GET, answer(b"a" * 4999))
    assert [(said["size"], said["state"]) for said in files(played)] == [
        (5000, "CLOSED"), (5000, "TRUNCATED"), (4999, "CLOSED"),
    ]  # fmt: skip
    assert "md5" not in files(played)[1], "it is not the digest of the file"
    assert files(played)[1]["sha256"] == hashlib.sha256(b"a" * 5000).hexdigest(), "of what is there, as Suricata has it"


def test_a_part_of_a_file_says_which(tmp_path: Path) -> None:
    played = session(tmp_path)
    assert range_fields(b"bytes 5-9/20") == {"raw": "bytes 5-9/20", "start": 5, "end": 9, "size": 20}
    assert range_fields(b"bytes */20") == {"raw": "bytes */20", "size": 20}
    assert range_fields(b"lines 1-2/3") == {"raw": "lines 1-2/3"}
    for ranged in (b"5-9/20", b"0-4/5", b"0-4/*", b"0-4/9"):
        played.tcp(GET, answer(b"hello", b"Content-Range: bytes " + ranged, status=b"206 P"))
    assert [(said.get("start"), said.get("end")) for said in files(played)] == [
        (5, 9), (None, None), (None, None), (0, 4),
    ]  # fmt: skip


def test_an_alert_in_a_file_has_it(tmp_path: Path) -> None:
    for settings in (("files.hashes=[]",), ()):
        played = session(tmp_path, 'alert http any any -> any any (file.data; content:"EICAR"; sid:1;)', *settings)
        played.tcp(GET, answer(EICAR), GET, answer(b"other"))
        (alert,) = played.alerts
        assert alert["files"] == [files(played)[0]]
        assert alert["files"][0]["filename"] == "/dir/a.txt"


def test_an_alert_has_its_file_without_events_of_files(tmp_path: Path) -> None:
    mail = b'Content-Disposition: attachment; filename="a.bin"\r\n\r\nthe second\r\n.\r\n'
    played = session(tmp_path, 'alert smtp any any -> any any (file.data; content:"second"; sid:1;)')
    played.engine.want({"alert"})
    played.tcp(
        to_client(b"220 mx ESMTP\r\n"), b"HELO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n",
        to_client(b"250 mx\r\n250 ok\r\n250 ok\r\n354 go\r\n"), mail,
    )  # fmt: skip
    (alert,) = played.alerts
    assert [file["filename"] for file in alert["files"]] == ["a.bin"]


def test_no_body_is_no_file(tmp_path: Path) -> None:
    played = session(tmp_path)
    head = b"HEAD /x HTTP/1.1\r\n\r\n", to_client(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    played.tcp(*head, GET, answer(b"", status=b"204 N"), GET, answer(b"", status=b"304 N"), GET, answer(b""))
    played.tcp(upload(b"x=1", method=b"DELETE"), answer(b""))
    played.end()
    assert files(played) == []


@pytest.mark.parametrize(
    ("options", "matches"),
    [
        ('filemagic:"EICAR"', True), ('filemagic:"eicar VIRUS"', True), ('filemagic:"PDF"', False),
        ('filemagic:!"PDF"', True), ("filesize:68", True), ("filesize:>68", False), ("filesize:<69", True),
        ("filesize:60<>70", True), ("filesize:!68", False), ('filename:"a.txt"', True), ('fileext:"txt"', True),
        ('fileext:"tx"', False), ("filemd5:md5.lst", True), ("filemd5:!md5.lst", False), ("filesha1:sha1.lst", True),
        ("filesha256:sha256.lst", True), ("filesha256:none.lst", False), ("filesha256:!none.lst", True),
        ('file.magic; content:"virus"', True), ('file.name; content:"/dir/"; startswith', True),
        ('http.stat_code; content:"200"; filesize:68', True), ('http.stat_code; content:"404"; filesize:68', False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("coded", [False, True])
def test_keywords_about_files(tmp_path: Path, options: str, matches: bool, coded: bool) -> None:
    for name in ("md5", "sha1", "sha256"):
        (tmp_path / f"{name}.lst").write_text(f"# bad ones\n{hashlib.new(name, EICAR).hexdigest().upper()}  a.txt\n")
    (tmp_path / "none.lst").write_text(hashlib.sha256(b"").hexdigest())
    played = session(tmp_path, f"alert http any any -> any any ({options}; sid:1;)")
    if coded:
        chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n44\r\n" + EICAR + b"\r\n0\r\n\r\n"
        played.tcp(GET, to_client(chunks), batch=1)
    else:
        played.tcp(GET, answer(EICAR))
    played.end()
    assert played.sids == [1] * matches


@pytest.mark.parametrize(
    "options", ["filesize:x", "filemd5:absent.lst", "filestore:sideways", "filestore:file,tx", "filesize:5<>6"]
)
def test_what_makes_no_sense_is_left_out(tmp_path: Path, options: str) -> None:
    played = session(tmp_path, f"alert http any any -> any any ({options}; sid:1;)")
    assert played.counters["rules.refused"] == 1


def test_files_that_wait_for_an_answer_keep_no_content_and_are_counted(tmp_path: Path) -> None:
    """A client that is far ahead of its server: of each of its uploads little is kept."""
    played = session(tmp_path, "", "protocols.http.memcap_bytes=60000")
    body = b"".join(
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="%d.txt"\r\n\r\n%b\r\n' % (number, b"x" * 50)
        for number in range(40)
    )
    one = upload(body + b"--B--\r\n", b"Content-Type: multipart/form-data; boundary=B")
    for _ in range(4):
        played.tcp(one * 5, close=False)
    assert played.counters["http.memcap"] > 0
    assert played.counters["files.closed"] == 4 * 5 * 40
    played.end()
    assert len(files(played)) == 4 * 5 * 40, "each has its event all the same"


# The store.


def stored(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("??/*")}


def named(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"{digest[:2]}/{digest}"


def store_session(tmp_path: Path, options: str = 'filemagic:"EICAR"; filestore', *settings: str) -> Session:
    rule = f"alert http any any -> any any ({options}; sid:7;)"
    return session(tmp_path, rule, f"files.store_dir={tmp_path / 'store'}", *settings)


def test_a_rule_stores_the_file_in_which_it_matches(tmp_path: Path) -> None:
    played, folder = store_session(tmp_path), tmp_path / "store"
    played.tcp(GET, answer(EICAR), GET, answer(b"harmless"), GET, answer(EICAR))
    played.end()
    assert stored(folder) == {named(EICAR): EICAR}
    assert [(said["stored"], said.get("sid"), said.get("file_id")) for said in files(played)] == [
        (True, [7], 1), (False, None, None), (True, [7], 2),
    ]  # fmt: skip
    path = folder / named(EICAR)
    assert [stat.S_IMODE(each.stat().st_mode) for each in (folder, path.parent, path)] == [0o700, 0o700, 0o600]
    assert played.counters["files.store.stored"] == 2


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ('http.uri; content:"/up"; filestore', [b"first"]),
        ('http.uri; content:"/up"; filestore:response,tx', [b"one"]),
        ('http.uri; content:"/up"; filestore:both,tx', [b"first", b"one"]),
        ('http.uri; content:"/up"; filestore:both,flow', [b"first", b"one", b"two"]),
        ("filestore", [b"first", b"one", b"two"]),
        ('file.data; content:"two"; filestore', [b"two"]),
    ],
)
@pytest.mark.parametrize("batch", [1, None])
def test_what_is_stored(tmp_path: Path, options: str, kept: list[bytes], batch: int | None) -> None:
    played = store_session(tmp_path, options)
    played.tcp(upload(b"first"), answer(b"one"), GET, answer(b"two"), batch=batch)
    played.end()
    assert stored(tmp_path / "store") == {named(content): content for content in kept}


def test_rules_in_yaml_store_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "rules:\n- {title: a, sid: 7, traffic: http any any -> any any, match: [{file.magic: {contains: EICAR}}],"
        " filestore: {scope: file}}\n"
    )
    played = Session(f"rules.paths=[{path}]", f"files.store_dir={tmp_path / 'store'}", rules=Rules())
    played.tcp(GET, answer(EICAR), GET, answer(b"other"))
    played.end()
    assert stored(tmp_path / "store") == {named(EICAR): EICAR}


def test_every_file_is_stored_where_that_is_asked(tmp_path: Path) -> None:
    played = session(tmp_path, "", f"files.store_dir={tmp_path / 'store'}", "files.store_all=true")
    played.tcp(GET, answer(b"one"), GET, answer(b"two"))
    played.end()
    assert stored(tmp_path / "store") == {named(content): content for content in (b"one", b"two")}


@pytest.mark.parametrize(
    ("setting", "counter", "count"),
    [
        ("files.store_file_bytes=2", "files.store.too_large", 3),
        ("files.store_quota_bytes=7", "files.store.quota", 1),
        ("files.store_files=1", "files.store.quota", 2),
    ],
)
def test_the_store_is_bounded(tmp_path: Path, setting: str, counter: str, count: int) -> None:
    played = store_session(tmp_path, "filestore", setting)
    played.tcp(GET, answer(b"one"), GET, answer(b"two"), GET, answer(b"three"))
    played.end()
    assert played.counters[counter] == count
    assert len(stored(tmp_path / "store")) == 3 - count
    assert sum(said["stored"] for said in files(played)) == 3 - count


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    for _ in range(2):
        played = store_session(tmp_path, "filestore", "files.store_files=2")
        played.tcp(GET, answer(b"one"), GET, answer(b"two"))
        played.end()
        assert played.counters["files.store.stored"] == 2, "they are there already"
        (tmp_path / "store" / ".used").unlink()
    played = store_session(tmp_path, "filestore", "files.store_files=2")
    played.tcp(GET, answer(b"three"))
    played.end()
    assert played.counters["files.store.quota"] == 1


def test_no_link_is_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "store"
    elsewhere.mkdir()
    folder.mkdir(mode=0o700)
    (folder / named(b"one")[:2]).symlink_to(elsewhere)
    second = folder / named(b"two")
    second.parent.mkdir(mode=0o700)
    second.symlink_to(elsewhere / "target")
    played = store_session(tmp_path, "filestore")
    played.tcp(GET, answer(b"one"), GET, answer(b"two"))
    played.end()
    assert list(elsewhere.iterdir()) == []
    assert played.counters["files.store.error"] == 2
    assert caplog.text.count("was not stored") == 1


def test_the_folder_itself_is_no_link(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "store").symlink_to(elsewhere)
    played = store_session(tmp_path, "filestore")
    played.tcp(GET, answer(b"one"))
    assert (os.listdir(elsewhere), played.counters["files.store.error"]) == ([], 1)


def test_without_a_folder_nothing_is_stored_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    played = session(tmp_path, "alert http any any -> any any (filestore; sid:1;)")
    played.tcp(GET, answer(b"one"), GET, answer(b"two"))
    assert played.counters["files.store.no_directory"] == 2
    assert caplog.text.count("names no directory") == 1


def test_marks_of_a_flow_are_bounded(tmp_path: Path) -> None:
    played = store_session(tmp_path, 'http.uri; content:"/dir"; filestore:response,tx')
    for _ in range(3):
        played.tcp(GET * 500, *[answer(b"one")] * 2)
    assert played.counters["files.store.stored"] == 6


def test_what_nobody_asks_for_is_not_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []
    monkeypatch.setattr("ids.protocols.files.file.describe", lambda content: asked.append(content))
    path = tmp_path / "a.rules"
    path.write_text('alert http any any -> any any (file.data; content:"zzz"; sid:1;)')
    played = Session(f"rules.paths=[{path}]", rules=Rules())
    played.tcp(GET, answer(EICAR), upload(b"x"), answer(b"y"))
    played.end()
    assert asked == []
    assert all("magic" not in said and "sha256" not in said for said in files(played))
