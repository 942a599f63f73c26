"""Outputs beside the file, against real receivers: what arrives, what is tried again, what is lost and counted."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Iterator, Sequence
from email import message_from_string, policy
from pathlib import Path
from typing import Any

import pytest
from ids_plugins.eve import EveOutput
from ids_plugins.mail import MAX_COUNTED, Digest, Mail, Mailer
from ids_plugins.syslog import Syslog
from ids_plugins.webhook import Webhook

from ids.config import Config, load_config
from ids.counters import Counters
from ids.errors import IdsError, UsageError
from ids.events import Events, Lines
from ids.plugin import outlet
from ids.plugin.delivery import Refused, Settled
from ids.plugin.outlet import Outlet
from ids.plugin.output import Output
from ids.privacy import Privacy, PrivacySettings
from ids.settings.outputs import MailSettings
from tests.plugins.receivers import (
    PATIENCE_S,
    Datagrams,
    Stream,
    alert,
    context,
    mail_server,
    octets,
    running,
    web_server,
)

HEAD = re.compile(rb"<(\d+)>1 (\S+) (\S+) (\S+) (\d+) (\S+) - (\{.*\})", re.DOTALL)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(outlet, "LONGEST_PAUSE_S", 0.02)


def parts(message: bytes) -> tuple[int, list[str], dict[str, Any]]:
    """Return the priority, the other fields of the head, and the event of a message of RFC 5424."""
    found = HEAD.fullmatch(message)
    assert found is not None, message
    return int(found[1]), [field.decode() for field in found.groups()[1:6]], json.loads(found[7])


# ---- syslog


def test_syslog_over_udp_has_the_form_of_rfc_5424() -> None:
    with Datagrams(socket.AF_INET, ("127.0.0.1", 0)) as receiver:
        address = f"udp://127.0.0.1:{receiver.socket.getsockname()[1]}"
        settings = {"address": address, "identity": "gate", "hostname": "host.example", "facility": "local5"}
        with running(Syslog(), context(syslog=settings)) as emit:
            emit(alert(severity=1), {"event_type": "drop"})
            emit({"event_type": "flow", "timestamp": "x"})
            priority, fields, event = parts(receiver.receive())
            assert priority == 21 << 3 | 2, "local5, critical"
            assert fields[:3] == ["2026-01-01T00:00:00.123456+00:00", "host.example", "gate"]
            assert fields[4] == "alert"
            assert event == alert()
            priority, fields, _ = parts(receiver.receive())
            assert (priority, fields[0]) == (21 << 3 | 6, "-"), "informational, at an unknown time"


def test_syslog_over_the_hosts_own_socket(tmp_path: Path) -> None:
    for kind, receiver in (("dgram", Datagrams), ("stream", Stream)):
        path = tmp_path / kind
        settings = {"address": f"unix://{path}"}
        with receiver(socket.AF_UNIX, str(path)) as listening, running(Syslog(), context(syslog=settings)) as emit:
            emit(alert(5))
            if isinstance(listening, Datagrams):
                message = listening.receive()
            else:
                with listening.accept() as connection:
                    message = octets(connection)
            assert parts(message)[2] == alert(5)


def test_syslog_over_tcp_counts_octets_and_connects_again() -> None:
    with Stream(socket.AF_INET, ("127.0.0.1", 0)) as receiver:
        made = context(syslog={"address": f"tcp://127.0.0.1:{receiver.port}"})
        with running(Syslog(), made) as emit:
            emit(alert(1), alert(2, text="ü\nzwei"))
            with receiver.accept() as connection:
                assert [parts(octets(connection))[2]["alert"]["signature_id"] for _ in range(2)] == [1, 2]
            emit(alert(3))  # the receiver has hung up
            with receiver.accept() as connection:
                assert parts(octets(connection))[2]["alert"]["signature_id"] == 3
    assert made.counters["syslog.delivered"] == 3
    assert made.counters["syslog.lost"] == 0


def test_a_long_event_is_shortened_to_a_message_that_is_still_json() -> None:
    with Datagrams(socket.AF_INET, ("127.0.0.1", 0)) as receiver:
        address = f"udp://127.0.0.1:{receiver.socket.getsockname()[1]}"
        with running(Syslog(), context(syslog={"address": address, "message_bytes": 1024})) as emit:
            emit(alert(1, payload="x" * 5000), alert(2, http={"url": "x" * 5000}))
            first, second = receiver.receive(), receiver.receive()
    assert len(first) <= 1024
    assert parts(first)[2]["dest_port"] == 80
    assert "payload" not in parts(first)[2]
    assert len(second) <= 1024
    assert parts(second)[2]["alert"]["signature"] == "title 2"


@pytest.mark.parametrize("address", ["udp://", "ftp://x:1", "192.0.2.1:514", "udp://[::1:5", "tcp://x:99999"])
def test_a_strange_address_is_refused(address: str) -> None:
    with pytest.raises((IdsError, ValueError)):
        Syslog().ids_start(context(syslog={"address": address}))


# ---- webhook


def test_a_webhook_gets_batches_of_json(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret\n")
    with web_server([200]) as (url, posted):
        settings = {"url": url, "headers": {"X-Team": "net"}, "token_file": str(tmp_path / "token"),
                    "batch_timeout_s": 0.05}  # fmt: skip
        made = context(webhook=settings)
        with running(Webhook(), made) as emit:
            emit(alert(1), alert(2))
            headers, body = posted.get(timeout=PATIENCE_S)
        assert [event["alert"]["signature_id"] for event in json.loads(body)] == [1, 2]
        assert headers["Authorization"] == "Bearer secret"
        assert (headers["X-Team"], headers["Content-Type"]) == ("net", "application/json")
        assert made.counters["webhook.delivered"] == 2
        with running(Webhook(), context(webhook={**settings, "encoding": "ndjson", "batch_events": 1})) as emit:
            emit(alert(1), alert(2))
            bodies = [posted.get(timeout=PATIENCE_S)[1] for _ in range(2)]
        assert [json.loads(body)["alert"]["signature_id"] for body in bodies] == [1, 2]


@pytest.mark.parametrize("code", [500, 503, 429])
def test_what_a_busy_receiver_does_not_take_comes_again(code: int, caplog: pytest.LogCaptureFixture) -> None:
    with web_server([code, code, 204]) as (url, posted), caplog.at_level(logging.WARNING):
        made = context(webhook={"url": url, "batch_timeout_s": 0})
        with running(Webhook(), made) as emit:
            emit(alert(1))
            bodies = [posted.get(timeout=PATIENCE_S)[1] for _ in range(3)]
        assert len(set(bodies)) == 1
    assert (made.counters["webhook.retries"], made.counters["webhook.delivered"]) == (2, 1)
    assert len([record for record in caplog.records if "is not reached" in record.message]) == 1


@pytest.mark.parametrize("code", [400, 403, 302])
def test_what_a_receiver_refuses_does_not_come_again_and_no_redirect_is_followed(code: int) -> None:
    with web_server([code, 200]) as (url, posted):
        made = context(webhook={"url": url, "batch_timeout_s": 0})
        with running(Webhook(), made) as emit:
            emit(alert(1))
            posted.get(timeout=PATIENCE_S)
            emit(alert(2))
            body = posted.get(timeout=PATIENCE_S)[1]
        assert json.loads(body)[0]["alert"]["signature_id"] == 2
        assert posted.empty()
    assert (made.counters["webhook.refused"], made.counters["webhook.delivered"]) == (1, 1)


def test_one_event_that_a_filter_refuses_does_not_cost_those_beside_it() -> None:
    with web_server([200], poison=b"EVIL") as (url, _):
        made = context(webhook={"url": url, "batch_timeout_s": 60})
        with running(Webhook(), made) as emit:
            emit(*[alert(n) for n in range(40)], alert(99, payload_printable="EVIL"), *[alert(n) for n in range(40)])
    assert (made.counters["webhook.refused"], made.counters["webhook.delivered"]) == (1, 80)


def test_who_refuses_everything_is_not_asked_about_each_event() -> None:
    with web_server([403]) as (url, posted):
        made = context(webhook={"url": url, "batch_timeout_s": 60})
        with running(Webhook(), made) as emit:
            emit(*[alert(n) for n in range(100)])
            for _ in range(199):
                posted.get(timeout=PATIENCE_S)
            emit(*[alert(n) for n in range(100)])
            posted.get(timeout=PATIENCE_S)
        assert posted.empty()
    assert (made.counters["webhook.refused"], made.counters["webhook.delivered"]) == (200, 0)


def test_a_certificate_that_is_not_trusted_is_no_receiver() -> None:
    """A server without any certificate stands for one with a wrong one: TLS is not to be talked out of."""
    with web_server([200]) as (url, posted):
        made = context(webhook={"url": url.replace("http:", "https:"), "batch_timeout_s": 0})
        with running(Webhook(), made) as emit:
            emit(alert(1))
        assert posted.empty()
    assert made.counters["webhook.lost"] == 1


def test_only_alerts_that_are_severe_enough_are_passed_on() -> None:
    with web_server([200]) as (url, posted):
        settings = {"url": url, "severity": 2, "types": ["alert", "anomaly"], "batch_timeout_s": 0}
        output = Webhook()
        with running(output, context(webhook=settings)) as emit:
            assert output.ids_event_types() == {"alert", "anomaly"}
            emit(alert(1, severity=3), alert(2, severity=2), {"event_type": "drop"}, {"event_type": "anomaly"})
            found: list[dict[str, Any]] = []
            while len(found) < 2:
                found += json.loads(posted.get(timeout=PATIENCE_S)[1])
    assert [event.get("alert", {}).get("signature_id") for event in found] == [2, None]


# ---- the queue


class Receiver:
    """One that takes nothing until it may."""

    def __init__(self) -> None:
        self.may, self.asked = threading.Event(), threading.Event()
        self.got: list[bytes] = []

    def deliver(self, lines: Sequence[bytes]) -> None:
        self.asked.set()
        assert self.may.wait(PATIENCE_S)
        self.got += lines


def made(receiver: Any, counters: Counters, **more: Any) -> Outlet:
    privacy = Privacy(PrivacySettings(), "x")
    return Outlet("x", counters, receiver, privacy=privacy, **{"buffer_bytes": 4096, **more})


def test_a_receiver_that_stalls_costs_no_time_and_bounded_memory_and_losses_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver, counters = Receiver(), Counters()
    stalled, other = made(receiver.deliver, counters), Receiver()
    other.may.set()
    beside = made(other.deliver, counters, buffer_bytes=1 << 20)
    lines = Events([alert(text="x" * 400)]).lines()
    stalled.put(lines)
    assert receiver.asked.wait(PATIENCE_S)
    for _ in range(50):  # returns at once, or the test would never end
        stalled.put(lines)
        beside.put(lines)
    assert counters["x.lost"] > 30
    assert [record.message for record in caplog.records if "being lost" in record.message] == [
        "x: no room for what waits (buffer_bytes), events are being lost and counted in x.lost"
    ], "said at once, and once"
    receiver.may.set()
    stalled.close()
    beside.close()
    assert len(receiver.got) + counters["x.lost"] == 51
    assert len(other.got) == 50, "the other one did not notice"


def test_a_replay_waits_for_a_slow_receiver_and_not_for_one_that_is_away() -> None:
    receiver, counters = Receiver(), Counters()
    receiver.may.set()
    patient = made(receiver.deliver, counters, patient=True)
    for _ in range(100):
        patient.put(Events([alert(text="x" * 400)]).lines())
    patient.close()
    assert (len(receiver.got), counters["x.lost"]) == (100, 0)

    def away(_: Sequence[bytes]) -> None:
        raise OSError("away")

    gone = made(away, counters, patient=True)
    for _ in range(100):
        gone.put(Events([alert(text="x" * 400)]).lines())
    gone.close()
    assert counters["x.lost"] == 100


def test_what_is_not_delivered_in_the_end_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    answers: Iterator[Exception | None] = iter([None, Refused("no"), OSError("away")])

    def deliver(_: Sequence[bytes]) -> None:
        if (error := next(answers, OSError("away"))) is not None:
            raise error

    counters = Counters()
    outlet = made(deliver, counters, batch_events=1, buffer_bytes=1 << 20)
    with caplog.at_level(logging.ERROR):
        for sid in range(5):
            outlet.put(Events([alert(sid)]).lines())
        outlet.close()
    assert (counters["x.delivered"], counters["x.refused"], counters["x.lost"]) == (1, 1, 3)
    assert "3 events were not delivered" in caplog.text


def test_a_reload_takes_other_settings_and_one_that_is_refused_changes_nothing() -> None:
    before = threading.active_count()
    output = Webhook()
    with web_server([200]) as (url, posted):
        output.ids_start(context())
        assert output.ids_event_types() == set()
        output.ids_reload(context(webhook={"url": url}))
        assert output.ids_event_types() == set()
        output.ids_reload(context(webhook={"url": url, "batch_timeout_s": 0}))()
        output.ids_events(Events([alert(1)]))
        posted.get(timeout=PATIENCE_S)
        with pytest.raises(UsageError):
            output.ids_reload(context(webhook={"url": url, "token_file": "/nonexistent"}))
        output.ids_events(Events([alert(2)]))
        posted.get(timeout=PATIENCE_S)
        output.ids_reload(context())()
        output.ids_stop()
    assert threading.active_count() == before


def test_a_reload_does_not_wait_for_a_receiver_that_stalls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "CLOSE_S", 0.01)
    receiver, counters = Receiver(), Counters()
    stalled = made(receiver.deliver, counters)
    output = Webhook()
    output._sink = stalled
    output.ids_events(Events([alert(1)]))
    stalled.put(Events([alert(1)]).lines())
    assert receiver.asked.wait(PATIENCE_S)
    output.ids_reload(context())()  # returns, though the receiver has not
    output.ids_events(Events([alert(2)]))
    assert output._retired == [stalled]
    receiver.may.set()
    stalled._thread.join(PATIENCE_S)
    output.ids_events(Events([alert(2)]))
    assert output._retired == []
    assert counters["x.delivered"] == len(receiver.got) == 1


def test_an_event_that_is_too_long_for_a_datagram_costs_only_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever sends bytes that JSON spells with six each makes one, whenever they like."""
    long = alert(99, payload_printable="\ufffd" * 200_000)
    outputs: list[tuple[Output, str, dict[str, Any]]] = [
        (EveOutput(), "eve", {"path": str(tmp_path / "socket"), "filetype": "unix_dgram"}),
        (Syslog(), "syslog", {"address": f"unix://{tmp_path / 'socket'}", "message_bytes": 1 << 20}),
    ]
    for output, name, group in outputs:
        with Datagrams(socket.AF_UNIX, str(tmp_path / "socket")) as receiver:
            made = context(True, **{name: group})
            with running(output, made) as emit:
                emit(alert(1), long, alert(2), long)
                emit(alert(3))
                found = [re.search(rb'"signature_id": ?(\d+)', receiver.receive()) for _ in range(3)]
        assert [hit and int(hit[1]) for hit in found] == [1, 2, 3]
        counters = made.counters
        assert (counters[f"{name}.delivered"], counters[f"{name}.too_long"], counters[f"{name}.lost"]) == (3, 2, 0)
        assert counters[f"{name}.retries"] == 0
        assert caplog.text.count(f"{name}: an event is too long for a datagram") == 1, "once"
        (tmp_path / "socket").unlink()


def test_a_message_over_udp_is_no_longer_than_a_datagram() -> None:
    long = ["syslog.message_bytes=65508"]
    with pytest.raises(IdsError, match=r"syslog\.message_bytes: a datagram of UDP has 65507 at most"):
        load_config(None, ["syslog.address=udp://192.0.2.1", *long])
    load_config(None, ["syslog.address=tcp://192.0.2.1", *long])


def test_what_no_time_will_mend_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Only `OSError` says that the receiver may take it later; anything else is a fault in one of the events."""
    got: list[bytes] = []

    def deliver(lines: Sequence[bytes]) -> None:
        if any(b"title 7" in line for line in lines):
            raise AttributeError("'NoneType' object has no attribute 'get'")
        got.extend(lines)

    counters = Counters()
    outlet = made(deliver, counters, buffer_bytes=1 << 20)
    for _ in range(3):
        outlet.put(Events([alert(sid) for sid in range(20)]).lines())
    outlet.put(Events([alert(7)] * 20).lines())
    outlet.put(Events([alert(sid) for sid in range(20)]).lines())
    outlet.close()
    assert (counters["x.delivered"], counters["x.refused"]) == (76, 24)
    assert (counters["x.retries"], counters["x.lost"], len(got)) == (0, 0, 76)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("odd", [{"alert": None}, {"alert": 3}, {"alert": {"severity": [1]}}, {"ids": 3}])
def test_an_odd_event_of_a_plugin_costs_syslog_no_other(odd: dict[str, Any]) -> None:
    with Datagrams(socket.AF_INET, ("127.0.0.1", 0)) as receiver:
        address = f"udp://127.0.0.1:{receiver.socket.getsockname()[1]}"
        made = context(syslog={"address": address, "message_bytes": 480})
        with running(Syslog(), made) as emit:
            emit(alert(1), alert(99) | odd, alert(2))
        found = [receiver.receive() for _ in range(made.counters["syslog.delivered"])]
    assert made.counters["syslog.delivered"] + made.counters["syslog.refused"] == 3
    assert [message for message in found if b"title 1" in message or b"title 2" in message] == [found[0], found[-1]]
    assert len(set(found)) == len(found) >= 2, "none comes twice"


@pytest.mark.parametrize("token", ["two\nlines", "with space", "nül", ""])
def test_a_token_that_is_no_header_is_refused_at_once(tmp_path: Path, token: str) -> None:
    (tmp_path / "token").write_text(token)
    with pytest.raises(UsageError, match=r"webhook\.token_file .*expected one line"):
        Webhook().ids_start(context(webhook={"url": "http://x/", "token_file": str(tmp_path / "token")}))


@pytest.mark.parametrize("header", [{"X": "a\nb"}, {"X Y": "a"}, {"X": "€"}, {"": "a"}])
def test_a_header_that_is_none_is_refused_at_once(header: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"webhook\.headers"):
        Webhook().ids_start(context(webhook={"url": "http://x/", "headers": header}))


def test_events_that_cannot_be_read_are_lost_alone(caplog: pytest.LogCaptureFixture) -> None:
    counters, got = Counters(), list[bytes]()
    outlet = made(got.extend, counters, severity=2)
    none, nothing = {"event_type": "alert", "alert": {}}, {"event_type": "alert", "alert": None}
    outlet.put([Lines("alert", b"no json\n" * 2 + json.dumps(alert(1)).encode() + b"\n3\n", 4)])
    outlet.put(Events([alert(2, severity=3), none, nothing]).lines())
    outlet.put([Lines("alert", b"[]\n", 1)])
    outlet.close()
    assert [json.loads(line)["alert"] for line in got] == [alert(1)["alert"], {}, None], "the worst, where it says none"
    assert (counters["x.delivered"], counters["x.lost"]) == (3, 4)
    assert len(caplog.records) == 1, "once"


# ---- mail


def test_one_mail_has_what_was_found_in_an_interval() -> None:
    now = [0.0]
    with mail_server() as (port, mails):
        settings = MailSettings(server="127.0.0.1", port=port, security="none", to=["soc@example.org"], alerts=1)
        mailer = Mailer(settings, "127.0.0.1", lambda: now[0])
        hostile = alert(7, alert={**alert(7)["alert"], "signature": "evil\r\nBcc: x@example.org\r\n\r\n\x1b[2J"})
        mailer.deliver([json.dumps(event).encode() for event in (alert(1), alert(1), hostile)])
        mailer.deliver([])
        assert mails.empty()
        now[0] = 3601.0
        mailer.deliver([])
        mail = message_from_string(mails.get(timeout=PATIENCE_S), policy=policy.default)
        now[0] = 9999.0
        mailer.deliver([])
        assert mails.empty(), "nothing was found since"
    assert mail["To"] == "soc@example.org"
    assert mail["Bcc"] is None
    assert "3 alerts of 2 rules" in mail["Subject"]
    text = mail.get_content()
    assert re.search(r"2  sid 1  title 1", text)
    assert "evil\\r\\nBcc" in text
    assert "\x1b" not in text
    assert "and 2 more" in text


def test_a_mail_that_is_refused_is_sent_later_with_what_came_meanwhile() -> None:
    with mail_server(refuses=1) as (port, mails):
        settings = {"server": "127.0.0.1", "port": port, "security": "none", "to": ["a@example.org"], "interval_s": 1}
        made = context(mail=settings)
        with running(Mail(), made) as emit:
            emit(alert(1))
            text = mails.get(timeout=PATIENCE_S)
    assert "1 sid 1" in re.sub(r"\s+", " ", text)
    assert made.counters["mail.retries"] == 1


def test_events_of_a_mail_are_delivered_when_it_is_sent() -> None:
    now = [0.0]
    with mail_server(refuses=1) as (port, mails):
        settings = MailSettings(server="127.0.0.1", port=port, security="none", to=["soc@example.org"])
        mailer = Mailer(settings, "127.0.0.1", lambda: now[0])
        batch = [json.dumps(alert(1)).encode(), b'{"event_type": "alert", "alert": null}', b"[]"]
        assert sum(mailer.deliver(batch)) == 0, "not yet"
        now[0] = 3601.0
        again = [json.dumps(alert(2)).encode()]
        with pytest.raises(OSError, match="451"):
            mailer.deliver(again)
        assert mailer.deliver(again) == Settled(delivered=2, refused=2)
        assert "2 alerts of 2 rules" in mails.get(timeout=PATIENCE_S)
        assert sum(mailer.close()) == 0


@pytest.mark.parametrize("there", [True, False])
def test_a_digest_that_is_not_sent_in_the_end_is_counted(there: bool, caplog: pytest.LogCaptureFixture) -> None:
    with mail_server() as (port, _):
        settings = {"server": "127.0.0.1", "port": port if there else 1, "security": "none", "to": ["a@example.org"]}
        made = context(mail=settings)
        with running(Mail(), made) as emit:
            emit(alert(1), alert(2))
            emit(alert(3))
    assert (made.counters["mail.delivered"], made.counters["mail.lost"]) == ((3, 0) if there else (0, 3))
    assert ("mail: 3 events were not delivered in the end" in caplog.text) is not there


@pytest.mark.parametrize("content", [None, "no certificate"])
@pytest.mark.parametrize(
    ("output", "name", "group"),
    [
        (Mail, "mail", {"server": "mail.example", "to": ["a@example.org"]}),
        (Syslog, "syslog", {"address": "tls://x:1"}),
        (Webhook, "webhook", {"url": "https://x/"}),
    ],
)
def test_certificates_that_cannot_be_read_are_refused_at_once(
    tmp_path: Path, output: type[Output], name: str, group: dict[str, Any], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca").write_text(content)
    with pytest.raises(UsageError, match=rf"{name}\.ca_file .*/ca"):
        output().ids_start(context(True, **{name: {**group, "ca_file": str(tmp_path / "ca")}}))


@pytest.mark.parametrize("password", ["pässword", "two\nlines"])
def test_a_password_that_cannot_be_sent_is_refused_at_once(tmp_path: Path, password: str) -> None:
    (tmp_path / "password").write_text(password)
    group = {"server": "x", "to": ["a@example.org"], "username": "a", "password_file": str(tmp_path / "password")}
    with pytest.raises(UsageError, match=r"mail\.password_file"):
        Mail().ids_start(context(mail=group))


def test_evidence_that_a_mail_filter_refuses_does_not_hold_up_the_mails() -> None:
    with mail_server(poison="X5O") as (port, mails):
        settings = {"server": "127.0.0.1", "port": port, "security": "none", "to": ["a@example.org"]}
        made = context(mail=settings)
        evil = alert(1, ids={"evidence": [{"buffer": "http.uri", "offset": 0, "excerpt": "X5O!P%@AP"}]})
        with running(Mail(), made) as emit:
            emit(evil)
        text = mails.get(timeout=PATIENCE_S)
    assert "title 1" in text
    assert "refused the single alerts (554)" in text


def test_the_end_of_the_engine_sends_what_there_is() -> None:
    with mail_server() as (port, mails):
        settings = {"server": "127.0.0.1", "port": port, "security": "none", "to": ["a@example.org"]}
        with running(Mail(), context(mail=settings)) as emit:
            emit(alert(1))
        assert "title 1" in mails.get(timeout=PATIENCE_S)


def test_a_digest_is_bounded() -> None:
    digest = Digest(10)
    for sid in range(MAX_COUNTED + 50):
        digest.add(json.dumps(alert(sid, src_ip=str(sid))).encode())
    assert len(digest.rules) == len(digest.sources) == MAX_COUNTED + 1
    assert digest.rules["others"] == 50
    assert len(digest.text("now")) < 10_000


def test_a_mail_needs_somebody_who_gets_it() -> None:
    with pytest.raises(IdsError, match=r"mail\.to"):
        load_config(None, ["mail.server=localhost"])


# ---- EVE to a socket


def test_eve_over_a_unix_socket(tmp_path: Path) -> None:
    with Stream(socket.AF_UNIX, str(tmp_path / "stream")) as stream:
        output = EveOutput()
        output.ids_start(context(eve={"path": str(tmp_path / "stream"), "filetype": "unix_stream"}))
        output.ids_events(Events([alert(1), {"event_type": "flow"}]))
        with stream.accept() as connection, connection.makefile("rb") as lines:
            assert [json.loads(lines.readline())["event_type"] for _ in range(2)] == ["alert", "flow"]
        output.ids_stop()
    with Datagrams(socket.AF_UNIX, str(tmp_path / "dgram")) as datagrams:
        output.ids_start(context(eve={"path": str(tmp_path / "dgram"), "filetype": "unix_dgram"}))
        output.ids_events(Events([alert(1), alert(2)]))
        assert [json.loads(datagrams.receive())["alert"]["signature_id"] for _ in range(2)] == [1, 2]
        output.ids_stop()


def test_eve_waits_for_a_socket_that_is_not_there_yet(tmp_path: Path) -> None:
    made = context(eve={"path": str(tmp_path / "later"), "filetype": "unix_stream"})
    output = EveOutput()
    output.ids_start(made)
    output.ids_events(Events([alert(1)]))
    with Stream(socket.AF_UNIX, str(tmp_path / "later")) as stream, stream.accept() as connection:
        assert json.loads(connection.makefile("rb").readline()) == alert(1)
    output.ids_stop()


def test_each_output_has_its_own_privacy(tmp_path: Path) -> None:
    output = EveOutput()
    output.ids_start(context(eve={"path": str(tmp_path / "eve"), "privacy": {"mask": "truncate", "payload": "drop"}}))
    with web_server([200]) as (url, posted), running(Webhook(), context(webhook={"url": url})) as emit:
        emit(alert(1, payload="x"))
        assert json.loads(posted.get(timeout=PATIENCE_S)[1])[0]["payload"] == "x"
    output.ids_events(Events([alert(1, payload="x")]))
    output.ids_stop()
    written = json.loads((tmp_path / "eve").read_text())
    assert (written["src_ip"], written["dest_ip"]) == ("192.0.2.0", "203.0.113.0")
    assert "payload" not in written


def test_nothing_is_sent_unless_it_is_asked_for() -> None:
    before = threading.active_count()
    for output in (Syslog(), Webhook(), Mail()):
        output.ids_start(context())
        assert output.ids_event_types() == set()
    assert threading.active_count() == before
    assert Config().eve.path is None
