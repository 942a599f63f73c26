"""Which way an address is, and that changes of interfaces are heard: asked of the kernel, in its own words."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from ids.kernel.system.links import LinkNews, interface_towards


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8"])
def test_the_way_to_an_address_is_the_kernels(address: str) -> None:
    assert interface_towards(address) == "lo"


@pytest.mark.parametrize("address", ["", "no address", "192.0.2.300"])
def test_what_has_no_way_has_none(address: str) -> None:
    assert interface_towards(address) == ""


@pytest.fixture
def news() -> Iterator[LinkNews]:
    made = LinkNews()
    yield made
    made.close()


def test_nothing_is_heard_where_nothing_was_said(news: LinkNews, monkeypatch: pytest.MonkeyPatch) -> None:
    said, heard = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.setblocking(False)
    monkeypatch.setattr(news, "_socket", heard)
    assert not news.heard()
    for _ in range(3):
        said.send(b"an interface has changed")
    assert news.heard(), "however many"
    assert not news.heard(), "all of them were read"
    said.close()
    heard.close()


def test_news_that_were_too_many_to_keep_are_news(news: LinkNews, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def recv(self, _: int) -> bytes:
            raise OSError(105, "No buffer space available")

        def close(self) -> None: ...

    monkeypatch.setattr(news, "_socket", Full())
    assert news.heard()
