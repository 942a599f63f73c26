"""A reload, of whatever settings, costs nothing of what waits for a receiver that is away."""

from __future__ import annotations

import json

import pytest
from ids_plugins.webhook import Webhook

from ids.events import Events
from ids.plugin import outlet
from tests.plugins.receivers import PATIENCE_S, alert, context, web_server


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlet, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(outlet, "LONGEST_PAUSE_S", 0.02)


@pytest.mark.parametrize("reloads", [1, 3])
def test_what_waits_goes_on_waiting(reloads: int) -> None:
    answers = [503]
    with web_server(answers) as (url, posted):
        live = context(webhook={"url": url, "batch_timeout_s": 0, "batch_events": 2})
        output = Webhook()
        output.ids_start(live)
        for sid in range(1, 6):
            output.ids_events(Events([alert(sid)]))
        for number in range(reloads):
            posted.get(timeout=PATIENCE_S)
            output.ids_reload(live)()
            output.ids_events(Events([alert(6 + number)]))
        posted.get(timeout=PATIENCE_S)
        answers[:] = [200]
        wanted, got = set(range(1, 6 + reloads)), list[int]()
        while not wanted <= set(got):
            body = posted.get(timeout=PATIENCE_S)[1]
            got += [event["alert"]["signature_id"] for event in json.loads(body)]
        output.ids_stop()
    counters = live.counters
    assert (counters["webhook.lost"], counters["webhook.delivered"]) == (0, 5 + reloads)


def test_what_waits_for_an_output_that_is_turned_off_is_counted() -> None:
    with web_server([503]) as (url, posted):
        live = context(webhook={"url": url, "batch_timeout_s": 0})
        output = Webhook()
        output.ids_start(live)
        output.ids_events(Events([alert(1), alert(2)]))
        posted.get(timeout=PATIENCE_S)
        output.ids_reload(context())()
        output.ids_stop()
    assert live.counters["webhook.lost"] == 2


def test_no_more_is_taken_over_than_there_is_room_for() -> None:
    with web_server([503]) as (url, posted):
        live = context(webhook={"url": url, "batch_timeout_s": 0, "batch_events": 1, "buffer_bytes": 4096})
        output = Webhook()
        output.ids_start(live)
        for _ in range(5):
            for sid in range(20):
                output.ids_events(Events([alert(sid)]))
            posted.get(timeout=PATIENCE_S)
            output.ids_reload(live)()
            waiting = [sink._bytes for sink in (output._sink, *output._retired) if isinstance(sink, outlet.Outlet)]
            assert sum(waiting) <= 3 * 4096
        output.ids_stop()
    assert live.counters["webhook.lost"] == 100
