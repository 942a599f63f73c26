"""What a receiver says once it has taken events undoes nothing: they are delivered, once."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading

import pytest
from ids_plugins.mail import Mailer
from ids_plugins.webhook import Poster

from ids.plugin.delivery import Settled
from ids.settings.outputs import MailSettings, WebhookSettings
from tests.plugins.receivers import Stream, alert, mail_server

TAKEN = b"HTTP/1.1 200 OK\r\n"
EVENT = json.dumps(alert(1)).encode()


@pytest.mark.parametrize(
    "answer",
    [
        TAKEN + b"Content-Length: 10\r\n\r\nxxx",  # and is cut off
        TAKEN + b"Content-Encoding: gzip\r\nContent-Length: 10\r\n\r\n" + b"x" * 10,  # which it is not
        TAKEN + b"Transfer-Encoding: chunked\r\n\r\nno number\r\n",
        TAKEN + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000,
        TAKEN + b"\r\nall that comes until the end",
    ],
)
def test_a_webhook_does_not_read_the_answer_to_know_that_events_were_taken(answer: bytes) -> None:
    with Stream(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.port}/"
        poster = Poster(WebhookSettings(url=url), url)
        server = threading.Thread(target=_answer, args=(listener, answer))
        server.start()
        poster.deliver([EVENT])
        poster.close()
        server.join()


@pytest.mark.parametrize("farewell", ["250 what?", "421 too busy", "500 no", ""])
def test_a_mail_that_was_taken_is_not_sent_again_for_a_strange_farewell(farewell: str) -> None:
    with mail_server(farewell=farewell) as (port, mails):
        mailer = Mailer(_settings(port), "127.0.0.1")
        mailer.deliver([EVENT])
        assert mailer.close() == Settled(delivered=1)
        assert sum(mailer.close()) == 0
    assert mails.qsize() == 1


def test_the_log_names_who_gets_no_mail_where_others_do(caplog: pytest.LogCaptureFixture) -> None:
    with mail_server(stranger="gone@example.org") as (port, mails), caplog.at_level(logging.WARNING):
        mailer = Mailer(_settings(port, "soc@example.org", "gone@example.org"), "127.0.0.1")
        mailer.deliver([EVENT])
        assert mailer.close() == Settled(delivered=1)
    assert mails.qsize() == 1
    assert re.search(r"gone@example\.org.*550", caplog.text)
    assert "soc@example.org" not in caplog.text


def _answer(listener: Stream, answer: bytes) -> None:
    """Take one request, and answer it."""
    with listener.accept() as connection, connection.makefile("rb") as request:
        head = list(iter(request.readline, b"\r\n"))
        length = next(int(line.split(b":")[1]) for line in head if line.lower().startswith(b"content-length:"))
        request.read(length)
        connection.sendall(answer)


def _settings(port: int, *to: str) -> MailSettings:
    return MailSettings(server="127.0.0.1", port=port, security="none", to=[*to] or ["soc@example.org"])
