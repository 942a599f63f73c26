"""Bodies coded with brotli, zstd and LZMA: undone as far as they go, at a bounded cost."""

from __future__ import annotations

import lzma
import random
from collections.abc import Callable

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.protocols.http.codings import UNDO, _with_less_window, unbrotli, unzstd
from ids.protocols.http.content import decode_content
from ids.protocols.http.settings import HttpSettings
from tests.protocols.wire import Wire, request

CODERS: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.compress,
    "zstd": zstandard.compress,
    "lzma": lambda content: lzma.compress(content, format=lzma.FORMAT_ALONE),
    "xz": lzma.compress,
}
NAMES = sorted(CODERS)
LIMIT = 100 * 1024


def undo(name: str, body: bytes, limit: int = LIMIT) -> tuple[bytes, bool]:
    return UNDO[name.encode()](body, limit)


@pytest.mark.parametrize("name", NAMES)
@given(content=st.binary(max_size=2000), limit=st.integers(1, 3000))
def test_what_is_coded_is_undone_up_to_the_limit(name: str, content: bytes, limit: int) -> None:
    assert undo(name, CODERS[name](content), limit) == (content[:limit], True)


@pytest.mark.parametrize("name", NAMES)
@given(body=st.binary(max_size=300))
def test_no_bytes_make_it_raise(name: str, body: bytes) -> None:
    found, _ = undo(name, body, 1000)
    assert len(found) <= 1000


@pytest.mark.parametrize("name", NAMES)
def test_a_bomb_is_undone_up_to_the_limit(name: str) -> None:
    assert undo(name, CODERS[name](bytes(20 << 20))) == (bytes(LIMIT), True)


@pytest.mark.parametrize("name", ["br", "lzma", "xz"])
def test_of_a_body_that_is_cut_what_is_there_is_undone(name: str) -> None:
    content = b"attack" + random.Random(1).randbytes(5000)
    found, intact = undo(name, CODERS[name](content)[:3000])
    assert intact
    assert content.startswith(found)
    assert len(found) > 2000


@pytest.mark.parametrize("name", ["br", "lzma", "xz"])
def test_what_comes_before_an_error_is_kept(name: str) -> None:
    content = b"attack" + random.Random(1).randbytes(5000)
    coded = bytearray(CODERS[name](content))
    coded[4000:4100] = bytes(100)
    found, _ = undo(name, bytes(coded))
    assert found.startswith(b"attack")


def test_what_follows_the_end_of_brotli_is_left() -> None:
    assert unbrotli(brotli.compress(b"content") + b"more", 100) == (b"content", True)


@pytest.mark.parametrize("window", [10, 16, 17, 18, 19, 22, 24])
@pytest.mark.parametrize("limit", [1000, LIMIT, 1 << 20])
def test_a_window_is_no_larger_than_it_has_to_be(window: int, limit: int) -> None:
    content = (b"the quick brown fox " + random.Random(window).randbytes(900) + b"<html><title>time") * 1000
    coded = brotli.compress(content, lgwin=window)
    less = _with_less_window(coded, limit)
    assert less[1:] == coded[1:]
    assert unbrotli(coded, limit) == (content[:limit], True)
    if window == 24 and limit <= LIMIT:
        assert less[0] & 0x0F == 3, "2^18 bytes"


def test_zstd_may_not_ask_for_any_window() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27)
    machine = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    assert unzstd(machine.compress(bytes(1 << 20)) + machine.flush(), 100) == (b"", False)


@pytest.mark.parametrize("coding", ["br", "zstd", "lzma", "xz", "x, BR", "gzip, br"])
def test_bodies_of_http_are_undone(coding: str) -> None:
    import gzip

    name = coding.split(",")[-1].strip().lower()
    body = CODERS[name](gzip.compress(b"content") if "gzip" in coding else b"content")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding.encode(), len(body))
    wire = Wire().client(request()).server(head + body)
    assert wire.seen[-1].buffers["file.data"] == b"content"


def test_what_is_called_coded_and_is_not_stays_as_it_is() -> None:
    counters = Counters()
    assert decode_content(b"plain words", b"br", 100, HttpSettings(), counters) == (b"plain words",)
    assert counters["http.coding_invalid"] == 1
    assert decode_content(b"plain", b"compress", 100, HttpSettings(), counters) == (b"plain",)
    assert counters["http.coding_unsupported"] == 1
