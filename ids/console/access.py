"""Whether a request may be answered: the host that it names, who sends it, and where a write comes from."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ids.console.messages import Request

COOKIE = "ids_session"
SESSION_S = 12 * 3600.0
"""A working day; then the token is asked for again."""
MOST_SESSIONS = 64
"""Whoever has the token can open sessions at will; the oldest goes first."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


@dataclass(frozen=True, slots=True)
class Session:
    """Whoever has shown the token."""

    csrf: str
    """What a form has to send along; empty where a bearer token came with the request itself."""
    until_s: float


class Access:
    """Knows the token and the sessions that were opened with it."""

    def __init__(
        self, token: str, hosts: Iterable[str] = (), clock: Callable[[], float] = time.monotonic, *, instance: str = ""
    ) -> None:
        """``hosts``: names beside those of this host by which the console may be asked for. ``instance`` is whose
        console it is: browsers keep cookies by host, not by port, and several may run on one.
        """
        self._token = token.encode()
        self._cookie = f"{COOKIE}_{instance}" if instance else COOKIE
        self._hosts = LOCAL_NAMES | {host.lower() for host in hosts}
        self._clock = clock
        self._lock = threading.Lock()
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def knows_host(self, request: Request) -> bool:
        """Return whether the request names this console: a page elsewhere whose name leads here does not."""
        host = request.headers.get("host", "").lower()
        name, colon, port = host.rpartition(":")
        if colon and port.isascii() and port.isdecimal() and not host.endswith("]"):
            host = name
        return host in self._hosts

    def same_origin(self, request: Request) -> bool:
        """Return whether a write comes from a page of the console, or from no page."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        origin = request.headers.get("origin")
        if site not in ("same-origin", "none"):
            return False
        return origin is None or origin.partition("://")[2].lower() == request.headers.get("host", "").lower()

    def session(self, request: Request) -> Session | None:
        """Return the session of who asks, by bearer token or cookie; None: nobody's."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return Session("", self._clock())
        with self._lock:
            key = self._key_of(request)
            session = self._sessions.get(key)
            if session is not None and session.until_s < self._clock():
                del self._sessions[key]
                return None
            return session

    def open(self, token: str) -> str | None:
        """Open a session for who shows the token; return its cookie, None where it is another token."""
        if not self._is_token(token.strip()):
            return None
        value = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[_key(value)] = Session(secrets.token_urlsafe(32), self._clock() + SESSION_S)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return f"{self._cookie}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={int(SESSION_S)}"

    def close(self, request: Request) -> str:
        """End the session of a request; return the cookie that says so."""
        with self._lock:
            self._sessions.pop(self._key_of(request), None)
        return f"{self._cookie}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"

    def _key_of(self, request: Request) -> bytes:
        return _key(_cookie(request, self._cookie))

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._token)


def may_write(request: Request, session: Session) -> bool:
    """Return whether a form is one that this session was given, or comes with a bearer token."""
    given = request.form.get("csrf", "").encode("utf-8", "replace")
    return not session.csrf or hmac.compare_digest(given, session.csrf.encode())


def _key(cookie: str) -> bytes:
    """Return under what a session is kept: a digest, so that to look it up takes as long for any guess."""
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()


def _cookie(request: Request, wanted: str) -> str:
    """Return the session's cookie, empty for none. Browsers send those of all else on this host, too, in any form."""
    pairs = (part.strip().partition("=") for part in request.headers.get("cookie", "").split(";"))
    return next((value for name, _, value in pairs if name == wanted), "")
