"""Mails a digest of what was found: one mail an interval, none where there was nothing."""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from email.utils import format_datetime, localtime, make_msgid
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from ids.errors import UsageError
from ids.events import Event
from ids.later import Later
from ids.literal import excerpt, literal
from ids.plugin.delivery import Settled
from ids.plugin.outlet import Outlet
from ids.plugin.output import Output, Prepared
from ids.privacy import Privacy
from ids.settings.outputs import MailSettings

if TYPE_CHECKING:
    import smtplib
    import ssl
    from email import message as email_message

    from ids.plugin.context import EngineContext
else:
    smtplib, ssl, email_message = Later("smtplib"), Later("ssl"), Later("email.message")

log = logging.getLogger(__name__)

PORTS = {"starttls": 587, "tls": 465, "none": 25}
MAX_COUNTED = 4096
"""Rules and sources that are counted in a digest; what comes beyond them is counted together."""
TOP = 20
_OTHERS = "others"


class Digest:
    """What was found since the last mail."""

    def __init__(self, alerts: int) -> None:
        self._kept = alerts
        self.events = 0
        self.rules: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.lines: list[str] = []

    def add(self, line: bytes) -> None:
        """Take an event; raises `LookupError`, `TypeError`, `ValueError` or `AttributeError` for what is none."""
        event = orjson.loads(line)
        kind = str(event.get("event_type", ""))[:32]
        if kind == "alert":
            alert = event["alert"]
            rule = f"sid {alert['signature_id']}  {literal(str(alert['signature'])[:200])}"
            client = event.get("ids", {}).get("client", {}).get("ip")
            if len(self.lines) < self._kept:
                self.lines.append(_alert(event))
            _count(self.rules, rule)
            _count(self.sources, literal(str(client or event.get("src_ip", "no IP header"))))
        self.events += 1
        self.types[kind] += 1

    def text(self, since: str, note: str = "") -> str:
        """Return the body of the mail; with a note, that stands in place of the single alerts."""
        parts = [f"Since {since}: " + ", ".join(f"{count:,} {kind}" for kind, count in self.types.most_common())]
        for heading, counted in (("Rules", self.rules), ("Sources", self.sources)):
            if counted:
                rows = [f"{count:>9,}  {name}" for name, count in counted.most_common(TOP)]
                more = [f"           and {len(counted) - TOP:,} more"] if len(counted) > TOP else []
                parts.append("\n".join([heading, *rows, *more]))
        if note:
            parts.append(note)
        elif self.lines:
            left = self.types["alert"] - len(self.lines)
            more = [f"… and {left:,} more: `ids alerts`, or the EVE file, has them"] if left > 0 else []
            parts.append("\n".join(["Alerts", *self.lines, *more]))
        return "\n\n".join(parts) + "\n"


def _count(counted: Counter[str], name: str) -> None:
    counted[name if name in counted or len(counted) < MAX_COUNTED else _OTHERS] += 1


def _alert(event: Event) -> str:
    alert, ours = event["alert"], event.get("ids", {})
    ends = f"{event.get('src_ip', '?')} → {event.get('dest_ip', '?')}:{event.get('dest_port', '')}"
    evidence: Event = next(iter(ours.get("evidence", [])), {})
    proof = f"  {evidence.get('buffer', '')}: {excerpt(str(evidence['excerpt']))}" if "excerpt" in evidence else ""
    head = f"{event.get('timestamp', '')}  severity {alert['severity']}  {alert['action']}"
    return literal(f"{head}  {ends}  {str(alert['signature'])[:200]} (sid {alert['signature_id']}){proof}")


class Mailer:
    """Collects, and sends when it is time."""

    def __init__(self, settings: MailSettings, server: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the password and the certificates; raises `UsageError`."""
        self._settings, self._server, self._clock = settings, server, clock
        self._password = "" if settings.password_file is None else _read(settings.password_file)
        self._tls = _trusting(settings) if settings.security != "none" else None
        self._due = clock() + settings.interval_s
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._digest, self._since = Digest(self._settings.alerts), format_datetime(localtime())
        self._taken: Sequence[bytes] | None = None
        self._odd = 0
        """Events that the digest could not take."""

    def deliver(self, lines: Sequence[bytes]) -> Settled:
        """Add events to the digest, and send that where it is time; raises `OSError` where the server does not take it.

        The same events come again then: they are in the digest already. Returns what was sent: none until it is time.
        """
        if self._taken is not lines:
            self._taken = lines
            for line in lines:
                try:
                    self._digest.add(line)
                except (LookupError, TypeError, ValueError, AttributeError) as error:
                    log.debug("mail: an event is left out: %r", error)
                    self._odd += 1
        return self.send() if self._clock() >= self._due else Settled()

    def send(self) -> Settled:
        """Send the digest, if there is anything in it; return what has become of its events."""
        found, odd = self._digest.events, self._odd
        settled = Settled(found, odd)
        if found:
            try:
                self._submit_what_is_taken()
            except smtplib.SMTPException as error:
                raise OSError(f"the mail server refuses: {error}") from error
            except OSError:
                raise
            except Exception:  # it could not be made a mail, and never will be
                log.exception("mail: a digest of %d events could not be sent, and is dropped", found)
                settled = Settled(refused=found + odd)
        self._begin_anew()
        self._due = self._clock() + self._settings.interval_s
        return settled

    def close(self) -> Settled:
        """Send what there is."""
        return self.send()

    def _submit_what_is_taken(self) -> None:
        """Submit the digest; without what traffic has put into it where a filter refuses that, as it would always."""
        try:
            self._submit(self._message())
        except smtplib.SMTPDataError as error:
            if error.smtp_code < 500:
                raise
            note = f"The mail server refused the single alerts ({error.smtp_code}); `ids alerts` has them."
            self._submit(self._message(note))

    def _message(self, note: str = "") -> email_message.EmailMessage:
        settings, digest = self._settings, self._digest
        message = email_message.EmailMessage()
        host = socket.gethostname()
        message["Subject"] = f"ids on {host}: {digest.types['alert']:,} alerts of {len(digest.rules):,} rules"
        message["From"], message["To"] = settings.sender, ", ".join(settings.to)
        message["Date"], message["Message-ID"] = format_datetime(localtime()), make_msgid(domain=host or "localhost")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday notice answers
        message.set_content(digest.text(self._since, note))
        return message

    def _submit(self, message: email_message.EmailMessage) -> None:
        settings = self._settings
        port = settings.port or PORTS[settings.security]
        if settings.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._server, port, timeout=settings.timeout_s, context=self._tls)
        else:
            server = smtplib.SMTP(self._server, port, timeout=settings.timeout_s)
        try:
            if settings.security == "starttls":
                server.starttls(context=self._tls)
            if settings.username is not None:
                server.login(settings.username, self._password)
            unknown = server.send_message(message)
        finally:
            _leave(server)
        if unknown:
            log.warning("mail: the server takes no mails for %s; the others have got theirs", unknown)


def _leave(server: smtplib.SMTP) -> None:
    """End a conversation; what becomes of a mail was said before, and the farewell does not change it."""
    with suppress(OSError):
        server.quit()
    server.close()


def _trusting(settings: MailSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"mail.ca_file {settings.ca_file}: {error}") from error


def _read(path: Path) -> str:
    try:
        password = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"mail.password_file {path}: {error}") from error
    if not (password.isascii() and password.isprintable()):  # smtplib sends no other
        raise UsageError(f"mail.password_file {path}: expected one line of printable ASCII, the password alone")
    return password


class Mail(Output):
    """The output."""

    name = "mail"

    def prepare(self, context: EngineContext) -> Prepared | None:
        """Check the settings."""
        settings = context.config.mail
        if settings.server is None:
            return None
        mailer, privacy = Mailer(settings, settings.server), Privacy(settings.privacy, "mail")

        def made() -> Outlet:
            return Outlet(
                "mail", context.counters, mailer.deliver, privacy=privacy, severity=settings.severity,
                buffer_bytes=settings.buffer_bytes, patient=not context.live, close=mailer.close,
                every_s=settings.interval_s,
            )  # fmt: skip

        return Prepared(made, frozenset(settings.types))


plugin = Mail
