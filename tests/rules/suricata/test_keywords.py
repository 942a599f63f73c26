"""What each option of Suricata's language becomes in the model: a row an option."""

from __future__ import annotations

import pickle

import pytest

from ids.rules.language.suricata.keywords import KEYWORDS, LATER
from ids.rules.match.chains import judge
from ids.rules.match.reading import Variables
from ids.rules.model.chain import (
    Chain,
    Compare,
    Compute,
    Content,
    DataAt,
    Decode,
    Expression,
    Extract,
    Jump,
    Length,
    Number,
    Step,
)
from ids.rules.model.header import (
    Checksum,
    HeaderBits,
    HeaderNumber,
    HeaderTest,
    IpOption,
    Noted,
    SameAddress,
    Spoken,
    StreamSize,
)
from ids.rules.model.patterns import Pattern
from ids.rules.model.rule import Anchor, Any_, Literal, NotAny, Size
from ids.types import Action, Direction, Threshold
from ids.types.state import BitChange, BitTest, CounterChange, CounterTest, State, StateChange, StateTest, Tagged
from tests.rules.suricata.making import HTTP, TLS, fault_of, parts_of, rule_of

A = Content(b"a")

CONTENTS: list[tuple[str, Content]] = [
    ('content:"abc";', Content(b"abc")),
    ('content: "abc" ;', Content(b"abc")),
    ('content:!"abc";', Content(b"abc", negated=True)),
    ('content:! "abc";', Content(b"abc", negated=True)),
    ('content:"|41 42|c|4344|";', Content(b"ABcCD")),
    (r'content:"\"\\\;\:";', Content(b'"\\;:')),
    ('content:"a:b";', Content(b"a:b")),
    ('content:"\xc3\xa4";', Content(b"\xc3\xa4")),
    ('content:"AbC"; nocase;', Content(b"abc", nocase=True)),
    ('content:"abc"; rawbytes;', Content(b"abc")),
    ('content:"abc"; offset:3; depth:9;', Content(b"abc", offset=3, depth=9)),
    ('content:"abc"; distance:-3; within:9;', Content(b"abc", distance=-3, within=9)),
    ('content:"abc"; startswith;', Content(b"abc", offset=0, depth=3)),
    ('content:"abc"; endswith;', Content(b"abc", at_end=True)),
    ('content:"abc"; startswith; endswith;', Content(b"abc", offset=0, depth=3, at_end=True)),
    ('content:"abc"; fast_pattern;', Content(b"abc", preferred=True)),
    ('content:"abc"; fast_pattern:only;', Content(b"abc", preferred=True)),
    ('content:"abc"; fast_pattern:1,2;', Content(b"abc", preferred=True)),
]


@pytest.mark.parametrize(("options", "expected"), CONTENTS, ids=[row[0] for row in CONTENTS])
def test_contents(options: str, expected: Content) -> None:
    assert parts_of(options) == (Chain("payload", (expected,)),)


DIGEST = "1FE4C7A3544EB27AFEC2ADFB3A3DBF60"
FINGERPRINT = ":".join(["7B"] * 20)

SPELLED: list[tuple[str, Content]] = [
    (f'ja3.hash; content:"{DIGEST}";', Content(DIGEST.lower().encode())),
    (f'ja3s.hash; content:"{DIGEST}";', Content(DIGEST.lower().encode())),
    (f'ssh.hassh; content:!"{DIGEST}";', Content(DIGEST.lower().encode(), negated=True)),
    (f'ja3_hash; content:"{DIGEST}";', Content(DIGEST.lower().encode())),
    (f'quic.cyu.hash; content:"{DIGEST}";', Content(DIGEST.encode())),
    ('tls.sni; content:"Example";', Content(b"Example")),
    (f'tls.cert_fingerprint; content:"{FINGERPRINT}";', Content(FINGERPRINT.lower().encode())),
    ('tls.cert_serial; content:"0f:d0"; startswith;', Content(b"0F:D0", offset=0, depth=5)),
    ('tls.subject:"CN=Example";', Content(b"CN=Example")),
    ('tls.issuerdn:!"CN=Example";', Content(b"CN=Example", negated=True)),
    ('filename:"Example";', Content(b"example", nocase=True)),
    ('http.host; to_uppercase; content:"EXAMPLE";', Content(b"EXAMPLE")),
]


@pytest.mark.parametrize(("options", "expected"), SPELLED, ids=[row[0] for row in SPELLED])
def test_contents_are_spelled_as_their_buffer_is(options: str, expected: Content) -> None:
    (chain,) = parts_of(options, "alert ip any any -> any any")
    assert isinstance(chain, Chain)
    assert chain.steps == (expected,)


@pytest.mark.parametrize(
    "options",
    [
        'ja3.hash; content:"1fe4";', 'ssh.hassh; content:"1fe4c7a3544eb27afec2adfb3a3dbf6z";',
        'tls.cert_fingerprint; content:"7b7b";', 'tls.cert_serial; content:"0fd0";', 'http.method; content:"GET ";',
        'http.host; content:"Example";', 'http.host; content:"example"; nocase;', 'content:"Example"; http_host;',
    ],
)  # fmt: skip
def test_what_no_buffer_holds_is_refused(options: str) -> None:
    assert fault_of(options, "alert ip any any -> any any")[0] == "malformed"


STEPS: list[tuple[str, Step]] = [
    ("isdataat:10;", DataAt(10)),
    ("isdataat:!2,relative;", DataAt(2, negated=True, relative=True)),
    ("isdataat:1,relative,rawbytes;", DataAt(1, relative=True)),
    ("byte_test:2,>,100,4;", Compare(Number(2, 4), ">", 100)),
    ("byte_test:2,!&,0x80,-4,relative,little;", Compare(Number(2, -4, True, "little"), "&", 128, negated=True)),
    ("byte_test:5,<=,70,0,string,dec;", Compare(Number(5, 0, base=10), "<=", 70)),
    ("byte_test:0,>,99,0,string,dec;", Compare(Number(0, 0, base=10), ">", 99)),
    ("byte_test:4,=,7,0,string,hex,bitmask 0xf0;", Compare(Number(4, 0, base=16, bits=0xF0), "=", 7)),
    ("byte_jump:2,4;", Jump(Number(2, 4))),
    ("byte_jump:4,-8,relative,little,align,multiplier 2,post_offset -6;",
     Jump(Number(4, -8, True, "little"), 2, True, "cursor", -6)),
    ("byte_jump:0,0,from_end,post_offset -7;", Jump(Number(0), origin="end", post_offset=-7)),
    ("byte_jump:3,0,from_beginning,string,oct;", Jump(Number(3, base=8), origin="begin")),
    ("byte_extract:2,0,size,relative,multiplier 4,align 2;", Extract(Number(2, relative=True), "size", 4, 2)),
    ("byte_math:bytes 2, offset 1, oper +, rvalue 5, result n, relative, endian little;",
     Compute(Number(2, 1, True, "little"), "+", 5, "n")),
    ("byte_math:bytes 3, offset 0, oper <<, rvalue 2, result n, string dec, bitmask 0xff;",
     Compute(Number(3, base=10, bits=255), "<<", 2, "n")),
    ("base64_decode;", Decode()),
    ("base64_decode:bytes 17, offset 1, relative;", Decode(17, 1, True)),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), STEPS, ids=[row[0] for row in STEPS])
def test_steps(options: str, expected: Step) -> None:
    assert parts_of('content:"a"; ' + options) == (Chain("payload", (A, expected)),)


PATTERNS = [
    ('pcre:"/a.b/";', "payload", "a.b", False, False, False),
    ('pcre:!"/a.b/i";', "payload", "a.b", True, True, False),
    ('content:"a"; pcre:"/a.b/Rsmx";', "payload", "(?smx)a.b", False, False, True),
    ('pcre:"/a|b/A";', "payload", r"\A(?:a|b)", False, False, False),
    ('pcre:"/ab$/E";', "payload", r"ab\z", False, False, False),
    (r'pcre:"/a\/b\;\x22/";', "payload", r"a\/b\;\x22", False, False, False),
    ('pcre:"/\xc3\xa4/";', "payload", r"\xc3\xa4", False, False, False),
    ('pcre:"/a/U";', "http.uri", "a", False, False, False),
    ('pcre:"/a/I";', "http.uri.raw", "a", False, False, False),
    ('pcre:"/a/P";', "http.request_body", "a", False, False, False),
    ('pcre:"/a/Q";', "file.data", "a", False, False, False),
    ('pcre:"/a/H";', "http.header", "a", False, False, False),
    ('pcre:"/a/D";', "http.header.raw", "a", False, False, False),
    ('pcre:"/a/M";', "http.method", "a", False, False, False),
    ('pcre:"/a/C";', "http.cookie", "a", False, False, False),
    ('pcre:"/a/S";', "http.stat_code", "a", False, False, False),
    ('pcre:"/a/Y";', "http.stat_msg", "a", False, False, False),
    ('pcre:"/a/V";', "http.user_agent", "a", False, False, False),
    ('pcre:"/a/W";', "http.host", "a", False, False, False),
    ('pcre:"/a/Z";', "http.host.raw", "a", False, False, False),
]


@pytest.mark.parametrize(("options", "buffer", "text", "nocase", "negated", "relative"), PATTERNS)
def test_regexes(options: str, buffer: str, text: str, nocase: bool, negated: bool, relative: bool) -> None:
    (chain,) = parts_of(options, HTTP)
    assert isinstance(chain, Chain)
    step = chain.steps[-1]
    assert isinstance(step, Expression)
    pattern = step.pattern
    assert (chain.buffer, pattern.text, pattern.nocase) == (buffer, text, nocase)
    assert (step.negated, step.relative) == (negated, relative)


def test_a_regex_compiles_at_its_first_search() -> None:
    (chain,) = parts_of('pcre:"/a[0-9]+b/";')
    assert isinstance(chain, Chain)
    (step,) = chain.steps
    assert isinstance(step, Expression)
    assert step.pattern._scanner is None
    assert step.pattern.search(b"xa12b") == (1, 5)
    assert step.pattern._scanner is not None


HEADERS: list[tuple[str, HeaderTest]] = [
    ("ttl:64;", HeaderNumber("ip.ttl", ((64, 64),))),
    ("ttl:<10;", HeaderNumber("ip.ttl", ((0, 9),))),
    ("ttl:>=10;", HeaderNumber("ip.ttl", ((10, 255),))),
    ("ttl:10-20;", HeaderNumber("ip.ttl", ((11, 19),))),
    ("dsize:5<>10;", HeaderNumber("payload.size", ((6, 9),))),
    ("dsize:!5;", HeaderNumber("payload.size", ((5, 5),), negated=True)),
    ("app-layer-protocol:!tls;", Spoken("tls", negated=True)),
    ("app-layer-protocol:http1;", Spoken("http1")),
    ("app-layer-protocol:failed;", Spoken("failed")),
    ("id:7;", HeaderNumber("ip.id", ((7, 7),))),
    ("itype:>3;", HeaderNumber("icmp.type", ((4, 255),))),
    ("icode:<3;", HeaderNumber("icmp.code", ((0, 2),))),
    ("icmp_id:5;", HeaderNumber("icmp.id", ((5, 5),))),
    ("icmp_seq:5;", HeaderNumber("icmp.seq", ((5, 5),))),
    ("icmpv6.mtu:>1280;", HeaderNumber("icmpv6.mtu", ((1281, 0xFFFFFFFF),))),
    ("seq:5;", HeaderNumber("tcp.seq", ((5, 5),))),
    ("tcp.ack:5;", HeaderNumber("tcp.ack", ((5, 5),))),
    ("window:!5;", HeaderNumber("tcp.window", ((5, 5),), negated=True)),
    ("tcp.mss:<536;", HeaderNumber("tcp.mss", ((0, 535),))),
    ("fragoffset:>0;", HeaderNumber("ip.fragoffset", ((1, 65535),))),
    ("tos:!x08;", HeaderNumber("ip.tos", ((8, 8),), negated=True)),
    ("ip_proto:!gre;", HeaderNumber("ip.proto", ((47, 47),), negated=True)),
    ("ip_proto:>6;", HeaderNumber("ip.proto", ((7, 255),))),
    ("flags:S;", HeaderBits("tcp.flags", "exactly", 2)),
    ("flags:S,12;", HeaderBits("tcp.flags", "exactly", 2, 192)),
    ("tcp.flags:+SA,CE;", HeaderBits("tcp.flags", "all", 18, 192)),
    ("flags:*FR;", HeaderBits("tcp.flags", "any", 5)),
    ("flags:0;", HeaderBits("tcp.flags", "exactly", 0)),
    ("fragbits:+M;", HeaderBits("ip.fragbits", "all", 1)),
    ("fragbits:D;", HeaderBits("ip.fragbits", "exactly", 2)),
    ("ipopts:lsrr;", IpOption("lsrr")),
    ("sameip;", SameAddress()),
    ("tcpv4-csum:invalid;", Checksum("tcpv4", valid=False)),
    ("ipv4-csum:valid;", Checksum("ipv4", valid=True)),
    ("stream_size:client,<,1000;", StreamSize("client", ((0, 999),))),
    ("stream_size:either,!=,5;", StreamSize("either", ((5, 5),), negated=True)),
    ("decode-event:ipv4.trunc_pkt;", Noted("decode", "ipv4.trunc_pkt")),
    ("stream-event:pkt_invalid_ack;", Noted("stream", "pkt_invalid_ack")),
    ("engine-event:stream.pkt_invalid_ack;", Noted("stream", "pkt_invalid_ack")),
    ("engine-event:decoder.icmpv4.unknown_code;", Noted("decode", "icmpv4.unknown_code")),
]


@pytest.mark.parametrize(("options", "expected"), HEADERS, ids=[row[0] for row in HEADERS])
def test_tests_on_headers(options: str, expected: HeaderTest) -> None:
    assert parts_of(options) == (expected,)


SEVERAL_TESTS: list[tuple[str, tuple[HeaderTest, ...]]] = [
    ("flags:!SA;", (HeaderBits("tcp.flags", "lacking", 18), HeaderBits("tcp.flags", "any", 7))),
    ("flags:!U,12;", (HeaderBits("tcp.flags", "lacking", 32, 192), HeaderBits("tcp.flags", "any", 224))),
    ("flags:!A;", (HeaderBits("tcp.flags", "lacking", 16),)),
    ("flags:*SA;", (HeaderBits("tcp.flags", "any", 18), HeaderBits("tcp.flags", "any", 7),
                    HeaderBits("tcp.flags", "any", 2))),
    ("flags:*SF;", (HeaderBits("tcp.flags", "any", 3), HeaderBits("tcp.flags", "any", 2))),
]  # fmt: skip


@pytest.mark.parametrize(("options", "expected"), SEVERAL_TESTS, ids=[row[0] for row in SEVERAL_TESTS])
def test_flags_of_a_beginning_or_an_end_are_looked_for_in_packets_with_one(
    options: str, expected: tuple[HeaderTest, ...]
) -> None:
    """Suricata leaves all other packets out, even where a rule asks for what a packet lacks."""
    assert parts_of(options) == expected


TESTS: list[tuple[str, StateTest]] = [
    ("flowbits:isset,a;", BitTest("flow", ("a",))),
    ("flowbits:isnotset,a|b;", BitTest("flow", ("a", "b"), negated=True)),
    ("hostbits:isset,a;", BitTest("src", ("a",))),
    ("hostbits:isset,a,dst;", BitTest("dst", ("a",))),
    ("xbits:isset,a,track ip_pair;", BitTest("pair", ("a",))),
    ("flowint:ab,>,3;", CounterTest("ab", ">", 3)),
    ("flowint:ab,==,cd;", CounterTest("ab", "==", "cd")),
    ("flowint:ab,isset;", CounterTest("ab", "isset")),
    ("flowint:ab,notset;", CounterTest("ab", "notset")),
]
CHANGES: list[tuple[str, StateChange]] = [
    ("flowbits:set,a;", BitChange("flow", "set", "a")),
    ("flowbits:unset,a;", BitChange("flow", "unset", "a")),
    ("flowbits:toggle,a;", BitChange("flow", "toggle", "a")),
    ("hostbits:set,a,src;", BitChange("src", "set", "a", 300)),
    ("xbits:set,a,track ip_src;", BitChange("src", "set", "a", 30)),
    ("xbits:unset,a,track ip_dst,expire 60;", BitChange("dst", "unset", "a", 60)),
    ("flowint:ab,+,1;", CounterChange("ab", "+", 1)),
    ("flowint:ab,=,cd;", CounterChange("ab", "=", "cd")),
    ("tag:session;", Tagged("session", 256, "packets", "dst")),
    ("tag:session,10,packets;", Tagged("session", 10, "packets", "dst")),
    ("tag:host,300,seconds,src;", Tagged("host", 300, "seconds", "src")),
]


@pytest.mark.parametrize(("options", "expected"), TESTS, ids=[row[0] for row in TESTS])
def test_tests_on_state(options: str, expected: StateTest) -> None:
    assert rule_of(options).signature.state == State(tests=(expected,))


@pytest.mark.parametrize(("options", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_changes_of_state(options: str, expected: StateChange) -> None:
    assert rule_of(options).signature.state == State(changes=(expected,))


@pytest.mark.parametrize("option", ["noalert;", "flowbits:noalert;", "hostbits:noalert;", "xbits:noalert;"])
def test_rules_that_do_not_alert(option: str) -> None:
    assert rule_of(option).signature.state == State(silent=True)
    assert not rule_of(option + " alert;").signature.state.silent


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("threshold:type limit, track by_src, count 1, seconds 60;", Threshold("limit", "by_src", 1, 60)),
        ("threshold: type both,count 5,seconds 9,track by_rule;", Threshold("both", "by_rule", 5, 9)),
        ("detection_filter:track by_dst, count 3, seconds 60;", Threshold("filter", "by_dst", 3, 60)),
    ],
)
def test_thresholds(options: str, expected: Threshold) -> None:
    assert rule_of(options).signature.threshold == expected


def test_what_describes_a_rule() -> None:
    signature = rule_of(
        'msg:"a \\"b\\"\\; \\\\c \xc3\xa4"; rev:3; gid:7; classtype:trojan-activity; reference:cve,2014-0160;'
        " reference:url,example.com/a; reference:odd,x; metadata:created_at 2019_01_01, tag x, tag y z;"
        " target:src_ip; prefilter;"
    ).signature
    assert signature.title == 'a "b"; \\c ä'
    assert (signature.rev, signature.gid, signature.severity, signature.classtype) == (3, 7, 1, "trojan-activity")
    assert signature.references == (
        "http://cve.mitre.org/cgi-bin/cvename.cgi?name=2014-0160", "http://example.com/a", "odd,x",
    )  # fmt: skip
    assert signature.metadata == {"created_at": ["2019_01_01"], "tag": ["x", "y z"]}


@pytest.mark.parametrize(
    ("options", "severity", "level"),
    [
        ("", 3, "low"),
        ("classtype:no-such-class;", 3, "low"),
        ("classtype:tcp-connection;", 4, "informational"),
        ("classtype:trojan-activity; priority:2;", 2, "medium"),
        ("priority:1;", 1, "high"),
        ("priority:200;", 200, "informational"),
    ],
)
def test_how_severe_a_rule_is(options: str, severity: int, level: str) -> None:
    rule = rule_of(options)
    assert (rule.signature.severity, rule.level) == (severity, level)


@pytest.mark.parametrize(
    ("options", "established", "direction", "payload_of"),
    [
        ("flow:established;", True, None, None),
        ("flow:not_established;", False, None, None),
        ("flow:to_server,established;", True, Direction.TO_SERVER, None),
        ("flow:from_server,stateless;", None, Direction.TO_CLIENT, None),
        ("flow:only_stream;", None, None, "stream"),
        ("flow:no_stream;", None, None, "packet"),
        ('content:"a"; app-layer-protocol:http;', None, None, "stream"),
        # as Suricata's engine analysis has it
        ('content:"a";', None, None, "stream"),
        ('content:"a"; depth:5;', None, None, None),
        ('content:"a"; startswith;', None, None, None),
        ('content:"a"; dsize:>5;', None, None, "packet"),
        ('content:"a"; ttl:5;', None, None, "packet"),
        ('content:"a"; stream_size:client,<,10;', None, None, None),
    ],
)
def test_flows(options: str, established: bool | None, direction: Direction | None, payload_of: str | None) -> None:
    flow = rule_of(options).flow
    assert (flow.established, flow.direction, flow.payload_of) == (established, direction, payload_of)


def test_sticky_buffers_hold_until_the_next_one() -> None:
    options = 'http.uri; content:"a"; content:"b"; http.host; content:"c"; pkt_data; content:"d";http.uri; content:"e";'
    assert parts_of(options, HTTP) == (
        Chain("http.uri", (A, Content(b"b"), Content(b"e"))),
        Chain("http.host", (Content(b"c"),)),
        Chain("payload", (Content(b"d"),)),
    )


def test_each_naming_of_a_buffer_with_several_instances_asks_for_one_of_them() -> None:
    options = 'dns.query; content:"a"; nocase; dns.query; content:"b";'
    assert parts_of(options, "alert dns any any -> any any") == (
        Chain("dns.query", (Content(b"a", nocase=True),)),
        Chain("dns.query", (Content(b"b"),)),
    )


def test_old_modifiers_are_about_the_content_before_them() -> None:
    options = 'content:"GET"; http_method; content:"/a"; http_uri; content:"b"; distance:1; http_uri; content:"c";'
    assert parts_of(options, HTTP) == (
        Chain("http.method", (Content(b"GET"),)),
        Chain("http.uri", (Content(b"/a"), Content(b"b", distance=1))),
        Chain("payload", (Content(b"c"),)),
    )


@pytest.mark.parametrize(
    ("option", "step"),
    [
        ("isdataat:!2,relative;", DataAt(2, negated=True, relative=True)),
        ("byte_test:1,>,2,0,relative;", Compare(Number(1, relative=True), ">", 2)),
        ("byte_jump:1,0,relative;", Jump(Number(1, relative=True))),
        ("byte_extract:1,0,n,relative;", Extract(Number(1, relative=True), "n")),
        ("base64_decode;", Decode()),
    ],
)
def test_relative_tests_are_on_the_buffer_of_the_test_before_them(option: str, step: Step) -> None:
    uri, payload = Chain("http.uri", (A, step)), Chain("payload", (Content(b"b"),))
    assert parts_of(f'content:"a"; http_uri; {option} content:"b";', HTTP) == (uri, payload)
    assert parts_of(f'content:"b"; content:"a"; http_uri; {option}', HTTP) == (payload, uri)


@pytest.mark.parametrize(
    ("option", "step"),
    [("isdataat:5;", DataAt(5)), ("byte_test:1,>,2,0;", Compare(Number(1), ">", 2))],
)
def test_other_tests_are_on_the_payload(option: str, step: Step) -> None:
    uri, payload = parts_of(f'content:"a"; http_uri; {option}', HTTP)
    assert uri == Chain("http.uri", (A,))
    assert isinstance(payload, Chain)
    assert payload.buffer == "payload"
    assert payload.steps == (step,)


@pytest.mark.parametrize(
    ("options", "buffer"),
    [
        ('content:"a"; http_client_body;', "http.request_body"),
        ('content:"a"; http_server_body;', "file.data"),
        ('content:"a"; http_raw_uri;', "http.uri.raw"),
        ('content:"a"; http_raw_header;', "http.header.raw"),
        ('uricontent:"a";', "http.uri"),
        ('file_data; content:"a";', "file.data"),
        ('http_header_names; content:"a";', "http.header_names"),
        ('http.request_line; content:"a";', "http.request_line"),
        ('http.uri; to_lowercase; content:"a";', "http.uri|lower"),
        ('http.uri; url_decode; to_md5; content:"a";', "http.uri|url_decode|md5"),
        ('http.uri; xor:"0d 0A"; content:"a";', "http.uri|xor:0d0a"),
        ('http.uri; pcrexform:"a|(b)"; content:"a";', "http.uri|capture:a%7c(b)"),
    ],
)
def test_names_of_buffers(options: str, buffer: str) -> None:
    assert parts_of(options, HTTP) == (Chain(buffer, (A,)),)


@pytest.mark.parametrize(
    ("options", "buffer", "expected"),
    [
        ("urilen:5;", "http.uri", Length(5, 5)),
        ("urilen:5<>10,norm;", "http.uri", Length(6, 9)),
        ("urilen:>5,raw;", "http.uri.raw", Length(6)),
        ("http.host; bsize:<=5;", "http.host", Length(0, 5)),
        ("http.host; bsize:!5;", "http.host", Length(5, 5, negated=True)),
    ],
)
def test_sizes_of_buffers(options: str, buffer: str, expected: Length) -> None:
    assert parts_of(options, HTTP) == (Chain(buffer, (expected,)),)


@pytest.mark.parametrize(
    ("options", "header", "expected"),
    [
        ("dns.opcode:!0;", "alert dns any any -> any any", Compare(Number(0, base=10), "=", 0, negated=True)),
        ("tls.version:1.2;", "alert tls any any -> any any", Content(b"1.2", True, False, 0, 3, at_end=True)),
    ],
)
def test_values_of_buffers(options: str, header: str, expected: Step) -> None:
    (chain,) = parts_of(options, header)
    assert isinstance(chain, Chain)
    assert chain.steps == (expected,)


def test_texts_of_certificates() -> None:
    assert parts_of('tls.subject:!"CN=a";', "alert tls any any -> any any") == (
        Chain("tls.cert_subject", (Content(b"CN=a", negated=True),)),
    )


def test_versions_of_tls() -> None:
    one, other = (Literal("tls.version", name, anchor=Anchor.WHOLE) for name in (b"sslv3", b"1.2"))
    assert parts_of("ssl_version:sslv3,tls1.2;", TLS) == (Any_((one, other)),)
    assert parts_of("ssl_version:!sslv3;", TLS) == (Size("tls.version", 1), NotAny((one,)))
    assert fault_of("ssl_version:tls9;", TLS)[0] == "malformed"
    assert fault_of("ssl_version:!sslv3,tls1.2;", TLS)[0] == "malformed"


def test_hellos_of_tls() -> None:
    rule = rule_of("ssl_state:server_hello;", TLS)
    assert (rule.flow.direction, rule.condition.parts) == (Direction.TO_CLIENT, (Size("tls.random", 1),))
    assert fault_of("ssl_state:client_keyx;", TLS)[0] == "keyword ssl_state"
    assert fault_of("flow:to_client; ssl_state:client_hello;", TLS)[0] == "keyword ssl_state"


def test_variables_stand_for_numbers() -> None:
    options = 'byte_extract:1,0,n; content:"a"; offset:n; depth:n; isdataat:n,relative; byte_test:1,>,n,n;'
    assert parts_of(options) == (
        Chain(
            "payload",
            (
                Extract(Number(1), "n"),
                Content(b"a", offset="n", depth="n"),
                DataAt("n", relative=True),
                Compare(Number(1, "n"), ">", "n"),
            ),
        ),
    )


def test_decoded_base64_is_a_buffer() -> None:
    options = 'http.uri; content:"a"; base64_decode:relative; base64_data; content:"b";'
    assert parts_of(options, HTTP) == (
        Chain("http.uri", (A, Decode(relative=True))),
        Chain("base64_data", (Content(b"b"),)),
    )


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        ("alert", Action.ALERT),
        ("drop", Action.DROP),
        ("pass", Action.PASS),
        ("reject", Action.REJECT),
        ("rejectsrc", Action.REJECT),
        ("rejectdst", Action.REJECT),
        ("rejectboth", Action.REJECT),
    ],
)
def test_actions(action: str, expected: Action) -> None:
    assert rule_of("", f"{action} ip any any -> any any").signature.action is expected


def test_a_rule_may_match_again_and_again() -> None:
    assert rule_of('content:"a";').repeats


@pytest.mark.parametrize("name", sorted(LATER))
def test_what_is_not_supported_is_refused_by_name(name: str) -> None:
    assert fault_of(f"{name}:1;") == (f"keyword {name}", "it is not supported")


def test_lists_of_options_do_not_overlap() -> None:
    assert not LATER & KEYWORDS.keys()


def test_patterns_are_kept_without_their_compiled_form() -> None:
    pattern = Pattern.lazy("a+", nocase=True)
    assert pattern.search(b"xAA") == (1, 2)
    kept = pickle.loads(pickle.dumps(pattern))
    assert (kept.text, kept.nocase, kept._scanner) == ("a+", True, None)
    assert kept.search(b"xAA") == (1, 2)


@pytest.mark.parametrize(
    ("options", "buffers"),
    [
        ('content:"a"; http_uri; isdataat:3,relative;', {"http.uri": 2}),
        ('content:"a"; http_uri; isdataat:3;', {"http.uri": 1, "payload": 1}),
        (
            'content:"a"; http_uri; content:"b"; http_header; byte_test:1,=,1,0,relative;',
            {"http.uri": 1, "http.header": 2},
        ),
        ('pcre:"/a/U"; byte_jump:1,0,relative; byte_test:1,=,1,0,relative;', {"http.uri": 3}),
        ('content:"a"; http_uri; base64_decode:bytes 4; base64_data; content:"b";', {"http.uri": 2, "base64_data": 1}),
        ('content:"a"; byte_extract:1,0,n,relative; content:"b"; http_uri;', {"payload": 2, "http.uri": 1}),
        ('http.uri; content:"a"; pkt_data; isdataat:3,relative;', {"http.uri": 2}),
    ],
)
def test_a_relative_test_is_on_the_buffer_of_the_test_before_it(options: str, buffers: dict[str, int]) -> None:
    parts = [part for part in rule_of(options, HTTP).condition.parts if isinstance(part, Chain)]
    assert {part.buffer: len(part.steps) for part in parts} == buffers


@pytest.mark.parametrize("content", ['content:"a";', 'content:!"a";'])
def test_no_data_behind_a_content_is_the_end_of_the_buffer(content: str) -> None:
    assert parts_of(f"http.uri; {content} isdataat:!1,relative;", HTTP) == parts_of(
        f"http.uri; {content} endswith;", HTTP
    )


@pytest.mark.parametrize(("option", "cause"), [
    ("decode-event:stream.pkt_invalid_ack;", "decode-event"),
    ("engine-event:icmpv4.unknown_code;", "malformed"),
    ("engine-event:decoder.nothing_of_the_kind;", "decode-event"),
])  # fmt: skip
def test_an_event_goes_by_the_name_that_its_option_has_for_it(option: str, cause: str) -> None:
    """``engine-event`` says where it was noted, the others do not: Suricata refuses all else."""
    assert fault_of(option)[0] == cause


@pytest.mark.parametrize(
    ("value", "begins_s", "holds"),
    [
        ("2020-01-02", 1577923200, True),
        ("2020-01-02", 1577923201, False),
        (">2020-01-02", 1577923200, True),
        (">2020-01-02T00:00:01", 1577923200, False),
        ("<2020-01-02 00:00", 1577923200, True),
        ("2020-01-02<>2020-01-03", 1577923200, True),
        ("2020-01-03<>2020-01-04", 1577923200, False),
        ("1577923200", 1577923200, True),
    ],
)
def test_the_time_of_a_certificate_is_compared_and_both_ends_count(value: str, begins_s: int, holds: bool) -> None:
    rule = rule_of(f"tls_cert_notbefore:{value};", header=TLS)
    (chain,) = rule.condition.parts
    assert isinstance(chain, Chain)
    assert chain.buffer == "tls.cert_notbefore"
    data = b"%d" % begins_s
    assert (judge(chain, data, lambda: data, Variables()).held is not None) is holds


@pytest.mark.parametrize("value", ["yesterday", "2020-13-01", "2020<>2019", "!2020", ">=2020-01-01", "1" * 40, ""])
def test_what_is_no_date_is_refused(value: str) -> None:
    fault_of(f"tls_cert_notafter:{value};", header=TLS)


@pytest.mark.parametrize(("options", "value"), [
    ('ja3.hash; content:"6734F37431670B3AB4292B8F60F29984";', b"6734f37431670b3ab4292b8f60f29984"),
    ('ja3_hash; content:"6734F37431670B3AB4292B8F60F29984";', b"6734f37431670b3ab4292b8f60f29984"),
    ('ja3s.hash; content:"6734F37431670B3AB4292B8F60F29984";', b"6734f37431670b3ab4292b8f60f29984"),
    (f'tls.cert_fingerprint; content:"{":".join(["6F"] * 20)}";', b":".join([b"6f"] * 20)),
    ('tls.cert_serial; content:"5c:3c:d9";', b"5C:3C:D9"),
    ('tls.sni; content:"Example";', b"Example"),
])  # fmt: skip
def test_a_digest_is_looked_for_in_the_case_in_which_it_is_written(options: str, value: bytes) -> None:
    """Suricata puts the content into that case; a rule with the other one matches there."""
    (chain,) = parts_of(options, TLS)
    assert isinstance(chain, Chain)
    (content,) = chain.steps
    assert isinstance(content, Content)
    assert content.value == value
