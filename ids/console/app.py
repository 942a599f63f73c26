"""Which page answers which path, for whom: all checks come before anything is looked up."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ids.config import Config
from ids.console import changes
from ids.console.access import Access, Session, may_write
from ids.console.messages import PLAIN, Request, Response
from ids.console.pages import NotFound, Pages, Shown, spelt_network
from ids.errors import IdsError, UsageError
from ids.literal import literal
from ids.metrics import Metrics
from ids.snapshot import Snapshot
from ids.store.imports import imported_set
from ids.types import IPNetwork

ASSETS = {"console.css": "text/css; charset=utf-8", "console.js": "text/javascript; charset=utf-8"}
CHANGES: Mapping[str, Callable[[Config, IPNetwork], str]] = {
    "/unblock": changes.lift,
    "/allow": changes.allow,
}


class App:
    """Answers requests. Nothing but the page that asks for the token, and its style, is shown without it."""

    def __init__(
        self, config: Config, access: Access, look: Callable[[], Snapshot], *, write: bool = False,
        open_metrics: bool = False,
    ) -> None:  # fmt: skip
        """``write``: blocks may be lifted. ``open_metrics``: whoever reaches the port may scrape."""
        self._config = config
        self._access = access
        self._write = write
        self._open_metrics = open_metrics
        self._pages = Pages(config, look)
        self._metrics = Metrics(look)
        self._assets = {name: files(__package__).joinpath("static", name).read_bytes() for name in ASSETS}
        self._templates = Environment(
            loader=PackageLoader(__package__), autoescape=True, undefined=StrictUndefined, finalize=_spelt,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._templates.filters |= {
            "when": _when,
            "count": _count,
            "network": spelt_network,
            "imported_set": imported_set,
        }
        self._shown: Mapping[str, Callable[[Mapping[str, str]], Shown | str]] = {
            "/": self._pages.now, "/alerts": self._pages.alerts, "/blocks": self._pages.blocks,
            "/why": self._pages.why, "/rules": self._pages.rules, "/search": self._pages.search,
        }  # fmt: skip

    def answer(self, request: Request) -> Response:
        """Answer one request."""
        if not self._access.knows_host(request):
            return Response.text(
                HTTPStatus.MISDIRECTED_REQUEST, "this console has another name; see console.hosts in the settings"
            )
        if request.method == "POST":
            return self._post(request)
        name = request.path.removeprefix("/static/")
        if request.path.startswith("/static/") and name in ASSETS:
            return Response(body=self._assets[name], content_type=ASSETS[name])
        if request.path == "/favicon.ico":  # browsers ask by themselves
            return Response(204)
        session = self._access.session(request)
        if request.path == "/metrics" and (session is not None or self._open_metrics):
            body, content_type = self._metrics.scraped(request.headers.get("accept", ""))
            return Response(body=body, content_type=content_type)
        if session is None:
            return self._stranger(request)
        return self._page(request, session)

    def _stranger(self, request: Request) -> Response:
        """Ask whoever has not shown the token for it."""
        if request.path in ("/metrics", "/api/now") or "authorization" in request.headers:
            said = b"expected the token, as a bearer\n"
            return Response(401, said, PLAIN, (("WWW-Authenticate", "Bearer"),))
        return self._render("login.html", {"wrong": False}, None, HTTPStatus.UNAUTHORIZED)

    def _page(self, request: Request, session: Session, said: str = "") -> Response:
        try:
            if request.path == "/api/now":
                return Response(body=json.dumps(self._pages.numbers()).encode(), content_type="application/json")
            if request.path.startswith("/alerts/"):
                shown: Shown | str = self._pages.alert(request.path.removeprefix("/alerts/"))
            elif request.path in self._shown:
                shown = self._shown[request.path](request.query)
            else:
                raise NotFound("there is no such page")
        except NotFound as error:
            return self._render("wrong.html", {"problem": str(error)}, session, HTTPStatus.NOT_FOUND)
        except UsageError as error:
            return self._render("wrong.html", {"problem": str(error)}, session, HTTPStatus.BAD_REQUEST)
        if isinstance(shown, str):
            return Response(303, headers=(("Location", shown),))
        return self._render(*shown, session, said=said)

    def _post(self, request: Request) -> Response:
        if not self._access.same_origin(request):
            return Response.text(HTTPStatus.FORBIDDEN, "this form does not come from the console")
        if request.path == "/login":
            cookie = self._access.open(request.form.get("token", ""))
            if cookie is None:
                return self._render("login.html", {"wrong": True}, None, HTTPStatus.UNAUTHORIZED)
            return Response(303, headers=(("Location", "/"), ("Set-Cookie", cookie)))
        session = self._access.session(request)
        if session is None:
            return self._stranger(request)
        if not may_write(request, session):
            return Response.text(HTTPStatus.FORBIDDEN, "this form is of another session; load the page again")
        if request.path == "/logout":
            return Response(303, headers=(("Location", "/"), ("Set-Cookie", self._access.close(request))))
        if request.path not in CHANGES:
            return Response.text(HTTPStatus.NOT_FOUND, "there is nothing to send that to")
        if not self._write:
            return Response.text(HTTPStatus.FORBIDDEN, "this console only shows: start it with --write")
        try:
            network = changes.network_of(request.form.get("network", ""))
            said = CHANGES[request.path](self._config, network)
        except (IdsError, OSError) as error:
            return self._render("wrong.html", {"problem": str(error)}, session, HTTPStatus.BAD_REQUEST)
        return self._page(Request("GET", "/why", {"address": str(network)}), session, said)

    def _render(
        self, template: str, content: Mapping[str, Any], session: Session | None, status: HTTPStatus = HTTPStatus.OK,
        said: str = "",
    ) -> Response:  # fmt: skip
        common = {
            "instance": self._config.instance,
            "session": session,
            "write": self._write,
            "said": said,
            "problem": "",
            "page": template.removesuffix(".html"),
        }
        text = self._templates.get_template(template).render({**common, **content})
        return Response(int(status), text.encode("utf-8", "replace"))


def _spelt(value: object) -> object:
    """Spell text so that a reader sees what is there: no control character, nothing that turns the line around."""
    return literal(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value


def _when(ts_ns: int | None) -> str:
    """Spell a moment, UTC."""
    if ts_ns is None:
        return "never"
    try:
        return f"{datetime.fromtimestamp(ts_ns // 1_000_000_000, timezone.utc):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return str(ts_ns)


def _count(number: float | None) -> str:
    return "–" if number is None else f"{number:,}"
