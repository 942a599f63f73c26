"""YARA rules: loading with their scope, and matching on streams and buffers."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.counters import Counters
from ids.errors import Location
from ids.rules.language.yara_loader import load_yara
from ids.rules.language.yara_scope import DERIVED_SIDS, derived_sid
from ids.rules.match.matcher import Matcher
from ids.rules.model.buffers import CATALOGUE
from ids.rules.model.ruleset import RuleSet
from ids.rules.model.yara import YaraSet
from ids.rules.settings import RulesSettings
from ids.types import Action, BlockMode, BlockRequest, Direction, FlowColumns, FlowState, StreamChunk, Transaction
from tests.factory import T0
from tests.rules.builders import chunks, end, exchange, feed, flow_of, sids, stream, transaction
from tests.rules.builders import matcher as yaml_matcher


def rule(name: str = "r", meta: str = "sid = 5", strings: str = '$a = "needle"', condition: str = "$a") -> str:
    """Spell a rule."""
    return f"rule {name} {{\n meta: {meta}\n strings: {strings}\n condition: {condition}\n}}\n"


def yara_set(tmp_path: Path, *texts: str) -> YaraSet:
    """Load files a.yar, b.yar, ..."""
    paths = [tmp_path / f"{'abcdef'[i]}.yar" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return load_yara(map(str, paths))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


def matcher(*texts: str, counters: Counters | None = None, previous: Matcher | None = None, **settings: int) -> Matcher:
    """Return a matcher of YARA rules that all load."""
    return yaml_matcher(yara="".join(texts), counters=counters, settings=RulesSettings(**settings), previous=previous)


def test_meta_says_what_the_rule_is(tmp_path: Path) -> None:
    """Identity, place, action and block; other keys become metadata."""
    meta = """sid = 7 rev = 2 level = "low" scope = "http.uri" traffic = "http any any -> any 80"
      flow = "established, to_server" title = "t" reference = "https://example.org" classtype = "c" then = "drop"
      block = "src_ip 1h shadow any" author = "a" """
    loaded = yara_set(
        tmp_path, "private rule p { condition: true }\n" + rule(meta=meta).replace("rule r", "rule r : x y")
    )
    assert (loaded.errors, loaded.warnings) == ((), ())
    (found,) = loaded.rules
    signature = found.signature
    assert (signature.sid, signature.rev, signature.severity, signature.title) == (7, 2, 3, "t")
    assert (signature.action, signature.classtype) == (Action.DROP, "c")
    assert signature.block == BlockRequest("src_ip", 3600, BlockMode.SHADOW, require_proven=False)
    assert signature.metadata == {"level": ["low"], "yara": ["r"], "author": ["a"], "tags": ["x", "y"]}
    assert signature.origin == f"{tmp_path}/a.yar:2"
    assert (found.scope, found.flow.direction, found.flow.established) == ("http.uri", Direction.TO_SERVER, True)


def test_a_rule_on_infected_hosts_says_that_those_inside_are_meant(tmp_path: Path) -> None:
    (found,) = yara_set(tmp_path, rule(meta='sid = 7 block = "src_ip 1h home"')).rules
    assert found.signature.block == BlockRequest("src_ip", 3600, BlockMode.ENFORCE, require_proven=True, home=True)


def test_a_rule_without_sid_gets_one_that_stays(tmp_path: Path) -> None:
    """Derived from its name, in a range of its own, with a warning that says how to fix it."""
    loaded = yara_set(tmp_path, rule("some_name", meta='author = "a"'))
    sid = derived_sid("some_name")
    assert loaded.rules[0].signature.sid == sid
    assert sid in DERIVED_SIDS
    assert [str(w) for w in loaded.warnings] == [
        f"{tmp_path}/a.yar:1:1: rule some_name has no sid; it gets {sid}, derived from its name"
        f" (add `sid = {sid}` to its meta to keep it when the name changes)"
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "rule r {\n condition: foo }",
            'a.yar:2:1: undefined identifier "foo" (there are no external variables; a module has to be imported)',
        ),
        (
            rule(strings='$a = "x" $b = "y"'),
            'a.yar:5:1: unreferenced string "$b" (use it in the condition, or begin its name with an underscore: $_a)',
        ),
        (
            "rule r {\n condition: true\n",
            "a.yar:3:1: syntax error, unexpected end of file, expecting '}' (close the rule with })",
        ),
        ('include "x.yar"\n', "a.yar:1:1: includes are disabled (put the included rules into a file of their own)"),
        (
            'rule r { condition: filename == "x" }',
            'a.yar:1:1: undefined identifier "filename" (there are no external variables; a module has to be imported)',
        ),
        ("\n" + rule("a") + rule("b"), "a.yar:7:1: sid 5 is already used at a.yar:2:1 (give one of them another sid)"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, error: str) -> None:
    """What YARA refuses has its place, and so has a sid that is taken."""
    loaded = yara_set(tmp_path, text)
    assert [str(e).replace(f"{tmp_path}/", "") for e in loaded.errors] == [error]


@pytest.mark.parametrize(
    ("meta", "error"),
    [
        ('scope = "htpt.uri"', " scope: unknown buffer 'htpt.uri' (did you mean 'http.uri'?)"),
        (
            'scope = "tcp.hdr"',
            " scope: YARA sees no tcp.hdr, the header of one packet (test it in a YAML rule)",
        ),
        ("sid = true", " sid: a number is expected, not True"),
        ("rev = 0", " rev: input should be greater than or equal to 1, not 0"),
        ('traffic = "tpc"', " traffic: unknown protocol 'tpc' (did you mean 'tcp'?)"),
        (
            'traffic = "udp any any -> any any"',
            " traffic: YARA sees streams of TCP and buffers of protocols, and no datagrams of udp"
            " (write tcp or ip, or test payload in a YAML rule)",
        ),
        (
            'scope = "payload" traffic = "icmp"',
            " traffic: YARA sees streams of TCP and buffers of protocols, and no datagrams of icmp"
            " (write tcp or ip, or test payload in a YAML rule)",
        ),
        (
            'scope = "http.uri" traffic = "udp"',
            " traffic: http.uri never comes over udp (write the protocol of the buffer)",
        ),
        (
            'scope = "file.data" traffic = "icmp"',
            " traffic: file.data never comes over icmp (write the protocol of the buffer)",
        ),
        ('flow = "to_srever"', " flow: unknown flow option 'to_srever' (did you mean 'to_server'?)"),
        ('block = "all"', " block: 'all' is not understood (write it as \"src_ip 1h shadow proven\")"),
    ],
)
def test_mistakes_in_meta(tmp_path: Path, meta: str, error: str) -> None:
    """They refuse their rule, at the place of the key."""
    loaded = yara_set(tmp_path, rule(meta=meta))
    assert loaded.rules == ()
    column = 8 + meta.index(error.partition(":")[0].strip())
    assert [str(e).replace(f"{tmp_path}/", "") for e in loaded.errors] == [f"a.yar:2:{column}: rule r: meta{error}"]


@pytest.mark.parametrize(("meta", "warning"), [
    ('scop = "http.uri"', "scop is metadata and no more: there is no such key (did you mean 'scope'?)"),
    ('Scope = "http.uri"', "Scope is metadata and no more: there is no such key (did you mean 'scope'?)"),
    ('leve = "high"', "leve is metadata and no more: there is no such key (did you mean 'level'?)"),
    (
        'threshold = "limit"',
        "threshold is metadata and no more: rules in YARA have no such key (write the rule in YAML)",
    ),
    ('rev = 1 rev = 2', "rev stands in it 2 times, and the last one counts (keep one)"),
    ('score = 70 id = "a" author = "b" hash1 = "c" date = "2026-01-01" reference = "d" reference = "e"', ""),
    ('license = "x" version = "1.0" family = "y" malware = "z" severity = 2', ""),
    (r'note = "scop = 1 { meta: } \" leve = 2"', ""),
])  # fmt: skip
def test_keys_of_meta_that_do_not_do_what_they_seem_to(tmp_path: Path, meta: str, warning: str) -> None:
    """A rule with a misspelt scope would look into streams, and nobody would know."""
    loaded = yara_set(tmp_path, rule(meta=f"sid = 5 {meta}"))
    assert [str(w).partition(": rule r: meta ")[2] for w in loaded.warnings] == ([warning] if warning else [])
    places = [(w.location.line, w.location.column) for w in loaded.warnings]
    assert places == ([(2, 16 + meta.rfind(warning.split()[0]))] if warning else [])


@pytest.mark.parametrize("traffic", ["ip any any -> any any", "tcp", "http"])
@pytest.mark.parametrize("scope", ["stream", "payload", "http.uri", "file.data"])
def test_traffic_that_carries_the_scope_loads(tmp_path: Path, traffic: str, scope: str) -> None:
    """Of all IP, the rule sees the part over TCP."""
    loaded = yara_set(tmp_path, rule(meta=f'sid = 5 scope = "{scope}" traffic = "{traffic}"'))
    assert (loaded.errors, len(loaded.rules)) == ((), 1)


def test_a_bad_file_takes_no_other_with_it(tmp_path: Path) -> None:
    """The rest loads, and what is not there is reported."""
    loaded = yara_set(tmp_path, "rule", rule())
    assert [r.name for r in loaded.rules] == ["r"]
    assert len(loaded.errors) == 1
    (error,) = load_yara([str(tmp_path / "none.yar")]).errors
    assert error.message == "cannot be read: No such file or directory"


def test_what_was_compiled_is_kept_for_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = (rule(), rule("two", 'sid = 6\n scope = "http.uri"', '$a = "other"'))
    paths = [tmp_path / "a.yar", tmp_path / "b.yar"]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)

    def load() -> YaraSet:
        return load_yara(map(str, paths), cache=tmp_path / "cache")

    def found(loaded: YaraSet) -> list[int]:
        assert not loaded.errors
        m = Matcher(RuleSet(yara=loaded), FlowColumns(4), Counters())
        return sids(stream(m, [b"a needle"]) + exchange(m, transaction(flow_of(m), uri=b"/other")))

    first = load()
    with monkeypatch.context() as patch:
        patch.setattr("yara.compile", None)
        second = load()
    assert repr(second.rules) == repr(first.rules)
    assert found(first) == found(second) == [5, 6]
    for file in (tmp_path / "cache").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert found(load()) == [5, 6]
    paths[0].write_text(rule(strings='$a = "changed"'))
    assert found(load()) == [6]


def test_rules_of_many_scopes_take_little_memory(tmp_path: Path) -> None:
    """The compiler leaves seven megabytes to each set of rules, and each scope has a set of its own."""
    scopes = [name for name in CATALOGUE if name.startswith("http.")][:16]
    texts = [rule(f"r{n}", f'sid = {n + 1} scope = "{scope}"', f'$a = "needle{n}"') for n, scope in enumerate(scopes)]
    yara_set(tmp_path, texts[0])
    before = resident_bytes()
    loaded = yara_set(tmp_path, "".join(texts))
    assert len(loaded.rules) == len(scopes)
    assert resident_bytes() - before < 2 * len(scopes) << 20


def test_a_file_that_does_not_compile_is_refused_at_each_start(tmp_path: Path) -> None:
    (tmp_path / "a.yar").write_text("rule r {\n condition: nonsense\n}\n")
    refusals = [load_yara([str(tmp_path / "a.yar")], cache=tmp_path / "cache").errors for _ in range(2)]
    assert [[str(error) for error in found] for found in refusals] == [
        [
            f'{tmp_path}/a.yar:2:1: undefined identifier "nonsense"'
            " (there are no external variables; a module has to be imported)"
        ]
    ] * 2


def test_sids_of_other_languages_are_taken(tmp_path: Path) -> None:
    """An alert says which rule it came from."""
    (tmp_path / "a.yar").write_text(rule())
    (error,) = load_yara([str(tmp_path / "a.yar")], taken={5: Location("r.yaml", 3, 1)}).errors
    assert error.message == "sid 5 is already used at r.yaml:3:1"


def test_buffers_of_transactions() -> None:
    """A rule looks at its own buffer only, whatever else its file has."""
    m = matcher(
        rule("a", 'sid = 1 scope = "http.request_body"')
        + rule("b", 'sid = 2 scope = "http.uri"')
        + rule("c", "sid = 3"),
    )
    flow = flow_of(m, app_proto="http")
    body = transaction(flow, request_body=b"a needle", uri=b"/")
    (match,) = exchange(m, body)
    assert (match.signature.sid, match.transaction, match.detector) == (1, body, "test")
    assert match.evidence[0].offset == 2
    assert sids(exchange(m, transaction(flow, uri=b"/needle"))) == [2]
    assert sids(stream(m, [b"needle"])) == [3]


def test_traffic_and_flow_options() -> None:
    """As for YAML rules."""
    m = matcher(
        rule("a", 'sid = 1 flow = "to_client"')
        + rule("b", 'sid = 2 traffic = "tcp any any -> any 81"')
        + rule("c", 'sid = 3 flow = "not_established"')
        + rule("d", 'sid = 4 traffic = "http"'),
    )
    assert stream(m, [b"needle"]) == []


@given(st.lists(st.integers(1, 3000), max_size=8), st.integers(0, 12000))
def test_a_string_is_found_however_it_is_cut(sizes: list[int], before: int) -> None:
    """And only once, at its stream offset."""
    data = b"-" * before + b"needle" + b"-" * 100
    pieces, at = [], 0
    for size in [*sizes, len(data)]:
        pieces.append(data[at : at + size])
        at += size
    (match,) = stream(matcher(rule()), pieces)
    assert match.evidence[0].offset == before


def test_positions_count_from_the_start_of_the_stream() -> None:
    """A condition on a position means nothing on a piece of the stream, and is judged on its head only."""
    m = matcher(rule(condition="$a at 0"), window_bytes=8192)
    assert sids(stream(m, [b"nee", b"dle"])) == [5]
    assert stream(m, [b"-" * 2000] * 100 + [b"needle"] * 3) == []
    assert feed(m, StreamChunk(flow_of(m), Direction.TO_SERVER, 9, b"needle", 0, 1, gap=9, closed=True)) == []


def test_strings_far_apart_meet_at_the_close() -> None:
    """The whole window is judged once more."""
    m = matcher(rule(strings='$a = "needle" $b = "thread"', condition="$a and $b"))
    assert sids(stream(m, [b"needle"] + [b"-" * 1000] * 500 + [b"thread"])) == [5]


def test_cost_is_linear() -> None:
    """Bytes given to YARA grow with the stream, and not with its square; one-byte segments cost their overlap."""
    for size, segments in ((1460, 300), (1460, 600), (100, 2000)):
        counters = Counters()
        m = matcher(rule(), counters=counters)
        assert stream(m, [b"-" * size] * segments) == []
        assert counters["yara.bytes"] <= 200_000 + segments * (4096 + size) + 4 * size * segments


def test_a_timeout_is_counted() -> None:
    """A condition that YARA cannot finish in time finds nothing, and the operator can see it."""
    counters = Counters()
    slow = rule(condition="for all i in (0..2000000000) : (i >= 0 and $a or not $a)")
    m = matcher(slow, counters=counters, yara_timeout_s=1)
    assert exchange(m, transaction(flow_of(m), uri=b"x")) == []
    chunk = StreamChunk(flow_of(m), Direction.TO_SERVER, 0, b"needle", 0, 1)
    assert feed(m, chunk) == []
    assert counters["yara.timeout"] == 1


def test_a_rule_that_takes_too_long_is_set_aside_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The rules that ran into the limit are halved until the slow one is alone; its neighbours find what they find."""
    counters = Counters()
    slow = "for all i in (0..2000000000) : (i >= 0 and $a or not $a)"
    rules = ['import "math"', "private rule p { condition: true }"]
    rules += [rule(f"r{sid}", f"sid = {sid}", condition=slow if sid == 3 else "p and $a") for sid in (1, 2, 3, 4)]
    m = matcher("\n".join(rules), counters=counters, yara_timeout_s=1)

    def found(at_s: int) -> list[int]:
        ts_ns = T0 + at_s * 1_000_000_000
        return sorted(sids(feed(m, StreamChunk(flow_of(m), Direction.TO_SERVER, 0, b"needle", ts_ns, 1, closed=True))))

    assert [found(0), found(1), found(2)] == [[], [1, 2], [1, 2, 4]], "halved twice"
    assert [found(3), found(61)] == [[1, 2, 4]] * 2
    assert (counters["yara.timeout"], counters["rules.set_aside"], counters["rules.faulty.3"]) == (3, 1, 1)
    assert [record.levelname for record in caplog.records if "rule 3 " in record.message] == ["ERROR"]
    assert found(62) == [1, 2, 4], "it is tried again"
    m.memory.flows.epoch += 1
    assert found(63) == [1, 2, 4], "in the next capture too"
    assert counters["yara.timeout"] == 5


def test_memory_goes_with_the_flow() -> None:
    """At its end, and by the cap."""
    counters = Counters()
    m = matcher(rule(), counters=counters, memcap_bytes=1 << 20)
    flows = [flow_of(m) for _ in range(40)]
    for flow in flows:
        feed(m, StreamChunk(flow, Direction.TO_SERVER, 0, b"-" * 60000, 0, 1))
    assert m.retained.total <= 1 << 20
    assert counters["rules.memcap.evicted"] > 20
    end(m, *flows)
    assert m.retained.total == 0


def test_reload_keeps_window_and_what_was_reported() -> None:
    """The new rules judge the old bytes again; a rule alerts once a direction."""
    old = matcher(rule())
    flow = flow_of(old)
    first, second = chunks(flow, [b"needle thr", b"ead"], closed=False)
    assert sids(feed(old, first)) == [5]
    new = matcher(rule(), rule("b", "sid = 6", '$a = "thread"'), previous=old)
    assert sids(feed(new, second)) == [6]


def test_yara_runs_where_a_literal_was_seen_and_the_traffic_fits() -> None:
    """Nothing is handed to it of other streams and buffers."""
    counters = Counters()
    m = matcher(
        rule("a", 'sid = 1 traffic = "tcp any any -> any 81"')
        + rule("b", 'sid = 2 scope = "http.uri" flow = "to_server"'),
        counters=counters,
    )
    assert stream(m, [b"no such thing" * 100] * 3) == []
    assert stream(m, [b"needle"]) == []
    flow = flow_of(m, app_proto="http")
    assert exchange(m, transaction(flow, uri=b"/thread")) == []
    assert exchange(m, transaction(flow, Direction.TO_CLIENT, 1, uri=b"/needle")) == []
    assert counters["yara.scans"] == 0
    assert sids(stream(m, [b"nee", b"dle"], flow_of(m, dport=81))) == [1]
    assert sids(exchange(m, transaction(flow, tx_id=2, uri=b"/needle"))) == [2]
    assert counters["yara.scans"] == 2


def test_a_rule_without_a_literal_always_runs_and_is_named(tmp_path: Path) -> None:
    """As long as its traffic fits and its flow is what it asks for."""
    text = 'rule r { meta: sid = 7 flow = "established" condition: filesize > 3 }'
    (warning,) = yara_set(tmp_path, text).warnings
    assert "sid 7: no literal to look for, so YARA runs on every stream" in str(warning)
    m = matcher(text)
    assert sids(stream(m, [b"ab", b"cd"])) == [7]
    flow = flow_of(m, state=FlowState.NEW)
    first, second, last = chunks(flow, [b"abcd", b"e"])
    assert feed(m, first) == []
    flow.state = FlowState.ESTABLISHED
    assert sids(feed(m, second, last)) == [7]


def test_every_instance_of_a_buffer_is_judged() -> None:
    """And a rule matches once a transaction."""
    m = matcher(rule("r", 'sid = 5 scope = "http.cookie"'))
    flow = flow_of(m, app_proto="http")
    more = {"http.cookie": (b"a needle", b"needles")}
    tx = Transaction(
        flow.columns, flow.slot, "http", 0, Direction.TO_SERVER, {"http.cookie": b"thread"}, {}, 1, 7, more=more
    )
    (match,) = exchange(m, tx)
    assert (match.evidence[0].offset, match.evidence[0].excerpt) == (2, b"a needle")


def test_a_scope_that_the_direction_never_carries_is_named(tmp_path: Path) -> None:
    """A request body goes to the server."""
    wrong, right = 'sid = 5 scope = "http.request_body" flow = "to_client"', 'sid = 5 scope = "http.request_body"'
    (warning,) = yara_set(tmp_path, rule("r", meta=wrong)).warnings
    assert "http.request_body is sent by the client, but flow asks for to_client" in str(warning)
    assert yara_set(tmp_path, rule("r", meta=right)).warnings == ()


@pytest.mark.parametrize(
    ("meta", "warned"),
    [
        ('scope = "http.response_body" block = "src_ip 1h"', True),
        ('flow = "to_client" block = "1h"', True),
        ('flow = "to_client" block = "dst_ip 1h"', False),
        ('flow = "to_client" traffic = "tcp $EXTERNAL_NET any -> any any" block = "src_ip 1h"', False),
        ('flow = "to_server" block = "src_ip 1h"', False),
    ],
)
def test_a_rule_on_answers_that_blocks_the_server_is_named(tmp_path: Path, meta: str, warned: bool) -> None:
    """The sender of an answer is the server."""
    loaded = yara_set(tmp_path, rule("r", meta=f"sid = 5 {meta}"))
    assert loaded.errors == ()
    assert ["which is the server" in str(w) and "dst_ip" in str(w) for w in loaded.warnings] == [True] * warned
