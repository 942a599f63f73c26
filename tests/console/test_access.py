"""No answer without the token, none to a page of another host, and no write that the console did not ask for."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ids.console import app as app_module
from ids.console.access import COOKIE, MOST_SESSIONS, SESSION_S, Access
from ids.console.changes import network_of
from ids.console.messages import Request
from ids.console.token import read_token
from ids.errors import UsageError
from tests.console.conftest import TOKEN, Open, Site

PAGES = (
    "/",
    "/alerts",
    "/alerts/1",
    "/blocks",
    "/why?address=192.0.2.1",
    "/rules",
    "/search?q=x",
    "/api/now",
    "/metrics",
)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nowhere."""


class Client:
    """Asks a console; keeps no cookie but the one that it is given."""

    def __init__(self, site: Site) -> None:
        self._base = f"http://127.0.0.1:{site.port}"
        self._opener = urllib.request.build_opener(_Stay)

    def ask(self, path: str, form: dict[str, str] | None = None, /, **headers: str) -> tuple[int, str, dict[str, str]]:
        """Return status, body and headers."""
        data = None if form is None else urllib.parse.urlencode(form).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self._base + path, data, named)
        try:
            with self._opener.open(request, timeout=60) as answer:
                return answer.status, answer.read().decode(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), dict(error.headers)

    def log_in(self) -> tuple[str, str]:
        """Return the cookie of a new session, and what its forms send along."""
        _, _, headers = self.ask("/login", {"token": TOKEN})
        cookie = headers["Set-Cookie"].partition(";")[0]
        body = self.ask("/", Cookie=cookie)[1]
        return cookie, body.partition('name="csrf" value="')[2].partition('"')[0]


@pytest.fixture
def client(site: Site) -> Client:
    return Client(site)


BEARER = {"Authorization": f"Bearer {TOKEN}"}


def test_without_the_token_there_is_nothing_to_see(client: Client) -> None:
    wrong: list[dict[str, str]] = [
        {}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}, {"Cookie": f"{COOKIE}=guess"},
        {"Cookie": f"{COOKIE}={TOKEN}"}, {"Cookie": 'a="'},
    ]  # fmt: skip
    for path in (*PAGES, "/nowhere"):
        for headers in wrong:
            code, body, _ = client.ask(path, **headers)
            assert code == 401, (path, headers)
            assert "probe" not in body
            assert "ids_" not in body


def test_with_the_token_every_page_answers(client: Client) -> None:
    cookie, _ = client.log_in()
    for path in PAGES:
        assert client.ask(path, **BEARER)[0] == 200, path
        assert client.ask(path, Cookie=cookie)[0] == 200, path


def test_a_page_whose_name_leads_here_is_refused_even_with_the_token(client: Client) -> None:
    for host in ("evil.example", "evil.example:9477", "127.0.0.1.evil.example", "", "localhost:9477:1", "[::2]:9477"):
        code, body, _ = client.ask("/", Host=host, **BEARER)
        assert code == 421, host
        assert "probe" not in body


def test_this_host_has_several_names(client: Client) -> None:
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:9477", "[::1]"):
        assert client.ask("/", Host=host, **BEARER)[0] == 200, host


@pytest.mark.parametrize("other", ['x={"a":1}', "n@me=1", 'x="open', "flag", "", "ids_sessions=2", "x=ids_session=3"])
def test_cookies_of_others_on_this_host_keep_nobody_out(client: Client, other: str) -> None:
    """A browser sends those of all ports of a host: other programs spell theirs as they like."""
    cookie, _ = client.log_in()
    assert client.ask("/", Cookie=f"{other}; {cookie}")[0] == 200
    assert client.ask("/", Cookie=f"{cookie};{other}")[0] == 200
    assert client.ask("/", Cookie=other)[0] == 401


def test_the_cookie_is_for_this_site_and_no_script(client: Client) -> None:
    code, _, headers = client.ask("/login", {"token": TOKEN})
    assert code == 303
    assert headers["Location"] == "/"
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(headers["Set-Cookie"].split("; "))
    assert TOKEN not in headers["Set-Cookie"]
    assert client.ask("/login", {"token": TOKEN + "x"})[0] == 401
    assert client.ask("/login", {})[0] == 401


def test_a_session_ends(client: Client) -> None:
    cookie, csrf = client.log_in()
    assert client.ask("/logout", {"csrf": csrf}, Cookie=cookie)[0] == 303
    assert client.ask("/", Cookie=cookie)[0] == 401


def test_sessions_are_few_and_not_for_good() -> None:
    now = [0.0]
    access = Access(TOKEN, clock=lambda: now[0])

    def known(cookie: str | None) -> bool:
        assert cookie
        return access.session(Request("GET", "/", headers={"cookie": cookie.partition(";")[0]})) is not None

    cookies = [access.open(TOKEN) for _ in range(MOST_SESSIONS + 1)]
    assert [known(cookie) for cookie in cookies] == [False] + [True] * MOST_SESSIONS
    now[0] = SESSION_S + 1
    assert not known(cookies[-1])


def test_consoles_of_two_instances_on_a_host_do_not_end_each_others_sessions() -> None:
    """A browser keeps cookies by host, whatever the port, and one of each name."""
    consoles = [Access(TOKEN, instance=name) for name in ("default", "lan")]
    jar: dict[str, str] = {}
    for console in consoles:
        name, _, value = str(console.open(TOKEN)).partition(";")[0].partition("=")
        jar[name] = value
    request = Request("GET", "/", headers={"cookie": "; ".join(f"{name}={value}" for name, value in jar.items())})
    assert all(console.session(request) is not None for console in consoles)
    assert consoles[0].close(request).startswith("ids_session_default=;")
    assert [console.session(request) is not None for console in consoles] == [False, True]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was changed."""
    found: list[str] = []

    def change(_: object, network: object) -> str:
        found.append(str(network))
        return f"{network} is unblocked"

    monkeypatch.setattr(app_module, "CHANGES", {"/unblock": change, "/allow": change})
    return found


def test_nothing_is_written_unless_asked_for(client: Client, done: list[str]) -> None:
    cookie, csrf = client.log_in()
    for headers in ({"Cookie": cookie}, BEARER):
        code, body, _ = client.ask("/unblock", {"network": "192.0.2.1", "csrf": csrf}, **headers)
        assert code == 403
        assert "--write" in body
    assert "Unblock" not in client.ask("/why?address=192.0.2.1", Cookie=cookie)[1]
    assert done == []


def test_a_write_takes_session_form_and_origin(open_site: Open, done: list[str]) -> None:
    site = open_site(write=True)
    client = Client(site)
    cookie, csrf = client.log_in()
    _, other = client.log_in()
    form = {"network": "192.0.2.1", "csrf": csrf}
    refused: list[tuple[dict[str, str], dict[str, str]]] = [
        (form, {}),
        (form | {"csrf": other}, {"Cookie": cookie}),
        ({"network": "192.0.2.1"}, {"Cookie": cookie}),
        (form, {"Cookie": cookie, "Origin": "http://evil.example"}),
        (form, {"Cookie": cookie, "Origin": "null"}),
        (form, {"Cookie": cookie, "Origin": "http://127.0.0.1:1"}),
        (form, {"Cookie": cookie, "Sec-Fetch-Site": "cross-site"}),
        (form, {"Cookie": cookie, "Sec-Fetch-Site": "same-site"}),
    ]
    for sent, headers in refused:
        assert client.ask("/unblock", sent, **headers)[0] in (401, 403)
    assert client.ask("/unblock?network=192.0.2.1&csrf=" + csrf, Cookie=cookie)[0] == 404, "a link writes nothing"
    assert done == []
    code, body, _ = client.ask("/unblock", form, Cookie=cookie, Origin=f"http://127.0.0.1:{site.port}")
    assert code == 200
    assert "192.0.2.1/32 is unblocked" in body
    assert client.ask("/allow", {"network": "2001:db8::/32"}, **BEARER)[0] == 200
    assert done == ["192.0.2.1/32", "2001:db8::/32"]
    assert client.ask("/unblock", {"network": "nonsense"}, **BEARER)[0] == 400
    assert client.ask("/nowhere", {"network": "192.0.2.1"}, **BEARER)[0] == 404


def test_what_is_no_network_never_comes_into_a_header(client: Client) -> None:
    for text in ("", "x", "192.0.2.1\r\nX: y", "fe80::1%a\r\nX: y", "::/0" * 40, "192.0.2.1/33"):
        with pytest.raises(UsageError):
            network_of(text)
        code, _, headers = client.ask("/search?" + urllib.parse.urlencode({"q": text}), **BEARER)
        assert code == 200
        assert "X" not in headers


def test_an_address_that_is_searched_for_leads_to_its_page(client: Client) -> None:
    code, _, headers = client.ask("/search?q=::ffff:192.0.2.1", **BEARER)
    assert (code, headers["Location"]) == (303, "/why?address=192.0.2.1")


def test_metrics_can_be_open_and_nothing_else_with_them(open_site: Open) -> None:
    client = Client(open_site(open_metrics=True))
    assert client.ask("/metrics")[0] == 200
    assert client.ask("/api/now")[0] == 401


def test_numbers_come_as_data(client: Client) -> None:
    now = json.loads(client.ask("/api/now", **BEARER)[1])
    assert now["totals"] == {"passed": 906, "dropped": 50, "would_drop": 0, "inspected": 900, "alerts": 3}
    assert now["rings"][0] == {"worker": 0, "name": "small", "percent": 25.0}
    assert [row["reason"] for row in now["uninspected"]] == ["ring_full"]


class TestToken:
    """The file of the token."""

    def test_is_made_for_its_owner_alone_and_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "run" / "default.token"
        token = read_token(path)
        assert len(token) >= 43
        assert path.stat().st_mode & 0o777 == 0o600
        assert read_token(path) == token

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
    def test_is_refused_where_others_may_read_it(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "token"
        path.write_text(TOKEN)
        os.chmod(path, mode)
        with pytest.raises(UsageError, match="owner alone"):
            read_token(path)

    @pytest.mark.parametrize("content", ["", "short", "a token with blanks in it, which is long enough"])
    def test_is_refused_where_it_is_no_token(self, tmp_path: Path, content: str) -> None:
        path = tmp_path / "token"
        path.write_text(content)
        path.chmod(0o600)
        with pytest.raises(UsageError, match="24 characters"):
            read_token(path)

    def test_is_no_link_to_another_file_and_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "real").write_text(TOKEN)
        (tmp_path / "link").symlink_to(tmp_path / "real")
        (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
        (tmp_path / "folder").mkdir()
        for name in ("link", "dangling", "folder"):
            with pytest.raises(UsageError):
                read_token(tmp_path / name)
        assert not (tmp_path / "nowhere").exists()
