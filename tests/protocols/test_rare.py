"""The second line of protocols: what their messages say, to rules and to EVE, however they are cut and on any port."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ids.protocols import BY_NAME
from ids.types import Direction
from tests.protocols import exports, said
from tests.protocols.said import CLIENT, SERVER, Heard, over_tcp, over_udp
from tests.protocols.wire import Wire

UDP = {
    "snmp": ((CLIENT, said.SNMP_GET), (SERVER, said.SNMP_TRAP), (CLIENT, said.snmp3(0)), (CLIENT, said.snmp3(3))),
    "dhcp": ((CLIENT, said.DHCP_DISCOVER), (SERVER, said.DHCP_ACK)),
    "sip": ((CLIENT, said.SIP_INVITE), (SERVER, said.SIP_RINGING)),
    "ike": ((CLIENT, said.IKE1), (SERVER, said.IKE1), (CLIENT, said.IKE1_KEY), (CLIENT, said.IKE2)),
    "tftp": ((CLIENT, said.TFTP_READ),),
    "bittorrent-dht": tuple([(Direction(at & 1), data) for at, data in enumerate(said.DHT)]),
}
TCP = {
    "sip": ((CLIENT, said.SIP_INVITE * 2), (SERVER, said.SIP_RINGING)),
    "mqtt": (
        (CLIENT, said.MQTT_CONNECT), (SERVER, said.MQTT_CONNACK), (CLIENT, said.MQTT_SUBSCRIBE),
        (SERVER, said.MQTT_SUBACK), (CLIENT, said.MQTT_PUBLISH), (SERVER, said.MQTT_PUBACK),
        (CLIENT, said.MQTT_DISCONNECT),
    ),
    "rfb": said.RFB,
    "pgsql": said.PG_SESSION,
    "modbus": tuple([(Direction(at & 1), data) for at, data in enumerate(said.MODBUS)]),
    "dnp3": tuple([(Direction(at & 1), data) for at, data in enumerate(said.DNP3)]),
    "enip": tuple([(Direction(at & 1), data) for at, data in enumerate(said.ENIP)]),
    "nfs": exports.streamed(exports.V3),
    "bittorrent": said.BT_PEERS,
}  # fmt: skip


@pytest.mark.parametrize("name", UDP)
def test_datagrams_are_known_on_any_port(name: str) -> None:
    assert over_udp(*UDP[name]).flow.app_proto == name


@pytest.mark.parametrize("name", TCP)
def test_streams_are_known_on_any_port(name: str) -> None:
    assert over_tcp(*TCP[name]).flow.app_proto == name


@pytest.mark.parametrize("name", [*UDP, *TCP])
def test_no_protocol_takes_another_s_bytes(name: str) -> None:
    """Every message fits its own protocol alone."""
    turns = UDP.get(name) or TCP[name]
    for other in BY_NAME.values():
        if other.datagram is not None and other.name != name and not other.home_ports:
            assert not any(other.datagram(data) for _, data in turns), other.name


def facts(heard: Heard) -> list[object]:
    """Return what was heard, apart from when."""
    return [(one.tx_id, one.direction, dict(one.buffers), dict(one.more), dict(one.fields)) for one in heard.seen]


@pytest.mark.parametrize("name", TCP)
@pytest.mark.parametrize("step", [1, 2, 7])
def test_however_it_is_cut_the_same_is_said(name: str, step: int) -> None:
    assert facts(over_tcp(*TCP[name], step=step)) == facts(over_tcp(*TCP[name]))


# SNMP


def test_snmp() -> None:
    heard = over_udp(*UDP["snmp"])
    assert heard.events == [
        {"version": 2, "pdu_type": "get_request", "vars": ["1.3.6.1.2.1.1.3.0"], "community": "public"},
        {
            "version": 1, "pdu_type": "trap_v1", "trap_type": "linkUp", "trap_oid": "1.3.6.1.4.1",
            "trap_address": "192.0.2.1", "community": "private",
        },
        {"version": 3, "pdu_type": "get_request", "vars": ["1.3.6.1.2.1.1.3.0"], "usm": "admin"},
        {"version": 3, "pdu_type": "encrypted"},
    ]  # fmt: skip
    assert heard.of("snmp.community") == [b"public", b"private"]
    assert heard.of("snmp.usm") == [b"admin", b"admin"]
    assert heard.of("snmp.version") == [b"2", b"1", b"3", b"3"]
    assert heard.of("snmp.pdu_type") == [b"0", b"4", b"0"]


@pytest.mark.parametrize(("model", "odd"), [(b"\x03", []), (b"\x02", [b"snmp.unknown_security_model"])])
def test_a_security_model_that_is_not_in_use_is_odd(model: bytes, odd: list[bytes]) -> None:
    message = said.snmp3(0)
    at = message.index(b"\x04\x01\0\x02\x01\x03") + 5
    assert over_udp((CLIENT, message[:at] + model + message[at + 1 :])).odd == odd


@pytest.mark.parametrize(
    ("variables", "names", "counted"),
    [
        ((said.SYS_UP_TIME,) * 256, 256, {}),
        ((said.SYS_UP_TIME,) * 257, 256, {"snmp.too_many_variables": 1}),
        ((said.SYS_UP_TIME, b"\x30\x05\x06"), 1, {"snmp.malformed_variables": 1}),
        ((said.SYS_UP_TIME, b"\x02\x01\0"), 1, {"snmp.malformed_variables": 1}),
    ],
)
def test_variables_are_read_as_far_as_they_can_be(
    variables: tuple[bytes, ...], names: int, counted: dict[str, int]
) -> None:
    heard = over_udp((CLIENT, said.snmp_get(*variables)))
    (event,) = heard.events
    assert event["vars"] == ["1.3.6.1.2.1.1.3.0"] * names
    assert {name: n for name, n in heard.counters.values.items() if name.endswith("variables")} == counted


# DHCP


def test_dhcp() -> None:
    short = {"type": "reply", "id": 0x12345678, "client_mac": "02:00:00:00:00:01", "assigned_ip": "192.0.2.10"}
    heard = over_udp(*UDP["dhcp"])
    assert heard.events == [{**short, "dhcp_type": "ack", "renewal_time": 1800}], "what is granted, in short"
    assert heard.of("dhcp.leasetime") == [b"3600"]
    assert heard.of("dhcp.hostname") == [b"host"]
    asked, granted = over_udp(*UDP["dhcp"], dhcp={"extended": True}).events
    assert asked == {
        "type": "request", "id": 0x12345678, "client_mac": "02:00:00:00:00:01", "assigned_ip": "0.0.0.0",
        "client_ip": "0.0.0.0", "dhcp_type": "discover", "client_id": "02:00:00:00:00:01", "hostname": "host",
        "params": ["subnet_mask", "router", "dns_server", "domain"], "vendor_class_identifier": "MSFT 5.0",
    }  # fmt: skip
    assert granted == {
        **short, "client_ip": "0.0.0.0", "relay_ip": "0.0.0.0", "next_server_ip": "0.0.0.0", "dhcp_type": "ack",
        "lease_time": 3600, "renewal_time": 1800, "rebinding_time": 3150, "subnet_mask": "255.255.255.0",
        "routers": ["192.0.2.1"], "dns_servers": ["192.0.2.2", "192.0.2.3"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "odd"),
    [
        (b"\x35\1\1\xff", []),
        (b"\x35\1\1\0\0\xff\0\0", []),
        (b"\x35\1\1", [b"dhcp.truncated_options"]),
        (b"\x35\1\1\x0c\x20ab", [b"dhcp.truncated_options"]),
        (b"\xff", [b"dhcp.malformed_options"]),
    ],
)
def test_options_that_do_not_end_are_odd(options: bytes, odd: list[bytes]) -> None:
    head = said.DHCP_DISCOVER[: said.DHCP_DISCOVER.index(b"\x63\x82\x53\x63") + 4]
    assert over_udp((CLIENT, head + options)).odd == odd


# SIP


@pytest.mark.parametrize("over", [over_udp, over_tcp])
def test_sip(over: object) -> None:
    heard = over(*UDP["sip"])  # type: ignore[operator]
    line = "INVITE sip:bob@host.example SIP/2.0"
    assert heard.events == [
        {"method": "INVITE", "uri": "sip:bob@host.example", "version": "SIP/2.0", "request_line": line},
        {"version": "SIP/2.0", "code": "180", "reason": "Ringing", "response_line": "SIP/2.0 180 Ringing"},
    ]
    assert heard.of("sip.via")[:2] == [b"SIP/2.0/UDP a.example", b"SIP/2.0/UDP b.example"]
    assert heard.of("sip.to") == [b"Bob <sip:bob@host.example>"], "short names and folded lines"


def test_a_body_is_no_head() -> None:
    """What a head announces behind it is passed over, though it looks like a head."""
    fake = b"BYE sip:x SIP/2.0\r\n\r\n"
    head = b"MESSAGE sip:bob SIP/2.0\r\nContent-Length: %d\r\n\r\n" % len(fake)
    assert over_tcp((CLIENT, head + fake + said.SIP_INVITE)).of("sip.method") == [b"MESSAGE", b"INVITE"]


# MQTT


def test_mqtt() -> None:
    heard = over_tcp(*TCP["mqtt"])
    head = {"qos": 0, "retain": False, "dup": False}
    connected, subscribed, published, left = heard.events
    assert connected["connack"] == {**head, "session_present": False, "return_code": 0}
    assert connected["connect"] == {
        **head, "protocol_string": "MQTT", "protocol_version": 4, "client_id": "me",
        "flags": {"username": True, "password": True, "will_retain": False, "will": True, "clean_session": True},
        "username": "user", "password": "secret", "will": {"topic": "will/topic", "message": "bye"},
    }  # fmt: skip
    assert subscribed["suback"] == {**head, "message_id": 7, "qos_granted": [1, 128]}
    assert published["publish"] == {
        "qos": 1, "retain": True, "dup": False, "topic": "a/b", "message_id": 8, "message": "hello",
    }  # fmt: skip
    assert left == {"disconnect": head}
    assert heard.odd == []
    assert heard.of("mqtt.connect.flags")[0] == b" username password will clean_session "


def test_what_answers_is_of_the_exchange_that_it_answers() -> None:
    """A rule can ask for a topic and for what the broker said of it."""
    answered = [one for one in over_tcp(*TCP["mqtt"]).seen if b"SUBACK" in one.instances("mqtt.type")]
    (one,) = answered
    assert one.instances("mqtt.subscribe.topic") == (b"a/b", b"c/#")
    assert one.instances("mqtt.reason_code") == (b"1", b"128")
    assert one.direction is CLIENT, "who began it"


ASKED = tuple([(CLIENT, said.mqtt(0x82, bytes((0, number, 0, 1)) + b"a\0")) for number in range(1, 80)])
"""Subscriptions that nobody answers."""


@pytest.mark.parametrize(
    ("turns", "odd"),
    [
        (((SERVER, said.MQTT_CONNACK),), b"missing_connect"),
        (((CLIENT, said.MQTT_CONNECT), (SERVER, said.MQTT_SUBACK)), b"missing_subscribe"),
        (((CLIENT, said.MQTT_CONNECT), (CLIENT, said.MQTT_PUBLISH)), b"unintroduced_message"),
        ((*TCP["mqtt"][:2], (CLIENT, said.MQTT_CONNECT)), b"double_connect"),
        ((*TCP["mqtt"][:2], (CLIENT, said.mqtt(0x36, said.said(b"a") + b"\0\1"))), b"invalid_qos_level"),
        ((*TCP["mqtt"][:2], (CLIENT, b"\0\0")), b"unassigned_msg_type"),
        ((*TCP["mqtt"][:2], *ASKED), b"too_many_transactions"),
        ((*TCP["mqtt"][:2], (CLIENT, said.mqtt(0x32, said.said(b"a")[:2]))), b"malformed_traffic"),
    ],
)
def test_what_is_odd_about_mqtt(turns: tuple[tuple[object, bytes], ...], odd: bytes) -> None:
    assert b"mqtt." + odd in over_tcp(*turns).odd  # type: ignore[arg-type]


def test_what_waits_in_mqtt_has_a_bound() -> None:
    many = [(CLIENT, said.mqtt(0x32, said.said(b"t") + number.to_bytes(2, "big"))) for number in range(1, 40)]
    heard = over_tcp(*TCP["mqtt"][:2], *many, mqtt={"open_requests": 8})
    assert heard.counters.values["mqtt.requests_evicted"] == 31
    assert len(heard.events) == 40, "what gives way is logged"


# IKE


def test_ike_1() -> None:
    asked, chosen, keyed = over_udp(*UDP["ike"][:3], ike={"record": 1}).events
    transform = {
        "alg_enc": "EncAesCbc", "alg_enc_raw": 7, "sa_key_length": "Unknown", "sa_key_length_raw": 128,
        "alg_hash": "HashSha", "alg_hash_raw": 2, "alg_dh": "GroupAlternate1024BitModpGroup", "alg_dh_raw": 2,
        "alg_auth": "AuthPreSharedKey", "alg_auth_raw": 1, "sa_life_type": "LifeTypeSeconds", "sa_life_type_raw": 1,
        "sa_life_duration": "Unknown", "sa_life_duration_raw": 86400,
    }  # fmt: skip
    assert asked["ikev1"] == {
        "doi": 1, "encrypted_payloads": False, "client": {"proposals": [transform]}, "server": {},
        "vendor_ids": ["aabb"],
    }  # fmt: skip
    assert asked["payload"] == ["SecurityAssociation", "VendorID", "Proposal", "Transform"]
    assert {key: chosen[key] for key in transform} == transform, "what the server took is logged with each message"
    assert keyed["ikev1"]["client"]["nonce_payload_length"] == 20  # type: ignore[index]


def test_ike_2() -> None:
    heard = over_udp((CLIENT, said.IKE2))
    (asked,) = heard.events
    assert (asked["version_major"], asked["exchange_type"], asked["role"]) == (2, 34, "initiator")
    assert asked["ikev2"] == {"errors": 0, "notify": ["NAT_DETECTION_SOURCE_IP"]}
    assert heard.odd == [b"ike.weak_crypto_auth", b"ike.weak_crypto_prf", b"ike.weak_crypto_dh"]
    assert over_udp((CLIENT, bytes(4) + said.IKE2)).events == heard.events, "port 4500 puts a marker before it"


# RFB


def test_rfb() -> None:
    heard = over_tcp(*said.RFB)
    assert heard.events == [{
        "server_protocol_version": {"major": "003", "minor": "008"},
        "client_protocol_version": {"major": "003", "minor": "008"},
        "authentication": {
            "security_type": 2, "vnc": {"challenge": "55" * 16, "response": "66" * 16}, "security_result": "OK",
        },
        "screen_shared": True,
        "framebuffer": {
            "width": 800, "height": 600, "name": "desk", "pixel_format": {
                "bits_per_pixel": 32, "depth": 24, "big_endian": False, "true_color": True, "red_max": 255,
                "green_max": 255, "blue_max": 255, "red_shift": 16, "green_shift": 8, "blue_shift": 0,
            },
        },
    }]  # fmt: skip
    assert heard.of("rfb.name") == [b"desk"]
    assert heard.of("rfb.secresult") == [b"ok"]


def test_an_unknown_type_of_security_ends_it() -> None:
    heard = over_tcp(*said.RFB[:3], (CLIENT, b"\x1e"), (SERVER, b"\xff" * 100))
    assert heard.odd == [b"rfb.unimplemented_security_type"]
    assert heard.events[0]["authentication"] == {"security_type": 30}


# PostgreSQL


def test_pgsql() -> None:
    heard = over_tcp(*said.PG_SESSION)
    assert heard.events == [
        {"tx_id": 1, "request": {"message": "SSL Request"}, "response": {"ssl_accepted": False}},
        {
            "tx_id": 2,
            "request": {
                "protocol_version": "3.0",
                "startup_parameters": {"user": "alice", "optional_parameters": [{"database": "shop"}]},
            },
            "response": {"authentication_md5_password": "salt"},
        },
        {
            "tx_id": 3,
            "request": {"password": "md5hash"},
            "response": {
                "message": "authentication_ok", "parameter_status": [{"time_zone": "UTC"}], "process_id": 7,
                "secret_key": 8,
            },
        },
        {
            "tx_id": 4,
            "request": {"simple_query": "SELECT 1;"},
            "response": {"field_count": 1, "data_rows": 1, "data_size": 1, "command_completed": "SELECT 1"},
        },
        {
            "tx_id": 5,
            "request": {"simple_query": "SELECT 1/0;"},
            "response": {"severity_localizable": "ERROR", "code": "22012", "message": "division by zero"},
        },
        {"tx_id": 6, "request": {"message": "termination_message"}},
    ]  # fmt: skip
    assert heard.of("pgsql.query") == [b"SELECT 1;", b"SELECT 1/0;"]
    assert heard.of("pgsql.error_code") == [b"22012"]


def test_pgsql_that_is_encrypted_is_handed_over() -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    heard = over_tcp((CLIENT, said.PG_SSL), (SERVER, b"S"), (CLIENT, hello))
    assert heard.flow.app_proto == "tls"


# Modbus


def test_modbus() -> None:
    heard = over_tcp(*TCP["modbus"])
    head = {"transaction_id": 2, "protocol_id": 0, "unit_id": 1, "function_raw": 5, "function_code": "WrSingleCoil",
            "access_type": "WRITE | COILS | SINGLE | WRITE_SINGLE", "category": "PUBLIC_ASSIGNED",
            "error_flags": "NONE", "write": {"address": 10, "data": 0xFF00}}  # fmt: skip
    assert heard.events[1] == {"id": 2, "request": head, "response": head}
    assert heard.events[3]["response"]["exception"] == {"raw": 1, "code": "IllegalFunction"}  # type: ignore[index]
    assert heard.of("modbus.address")[:2] == [b"\0\x11\0\x15", b"\0\x0b\0\x0b"], "from 1 on"
    assert heard.of("modbus.value")[:3] == [b"\0\x0b\0\1", b"\0\2\0\x0a", b"\0\3\1\2"]
    assert heard.of("modbus.access")[1] == b" write coils single write_single "


def test_modbus_without_an_answer_is_logged_at_the_end() -> None:
    (only,) = over_tcp((CLIENT, said.MODBUS[0])).events
    assert "response" not in only


# DNP3


def test_dnp3() -> None:
    heard = over_tcp(*TCP["dnp3"])
    asked, answered, operated, *_ = heard.events
    assert (asked["type"], asked["src"], asked["dst"]) == ("request", 3, 2)
    span = {"qualifier": 6, "prefix_code": 0, "range_code": 6, "start": 0, "stop": 0, "count": 0}
    assert asked["application"] == {
        "control": {"fir": True, "fin": True, "con": False, "uns": False, "sequence": 0}, "function_code": 1,
        "objects": [{"group": 60, "variation": 2, **span}, {"group": 60, "variation": 3, **span}], "complete": True,
    }  # fmt: skip
    assert answered["iin"] == {"indicators": ["need_time", "device_restart"]}
    first, second = answered["application"]["objects"]  # type: ignore[index]
    assert [point["state"] for point in first["points"]] == [1, 0, 0]
    assert second["points"][0]["value"] == 1.5
    control = operated["application"]["objects"][0]["points"][0]  # type: ignore[index]
    assert (control["index"], control["op_type"], control["ontime"], control["offtime"]) == (7, 1, 100, 200)
    assert heard.of("dnp3.obj")[:2] == [b"60,2", b"60,3"]
    assert heard.odd == []


def test_dnp3_puts_segments_together_without_their_checksums() -> None:
    fragment = b"\xc0\2" + b"\x32\1\7\1" + bytes(range(6))
    frames = said.dnp3(fragment[:5], transport=0x40) + said.dnp3(fragment[5:], transport=0x81)
    assert over_tcp((CLIENT, frames)).of("dnp3.data") == [fragment]


@pytest.mark.parametrize("kind", [b"\xfe\1", b"\1\x63"])
def test_points_of_an_unknown_object_are_odd(kind: bytes) -> None:
    """Of a request to read them, which has none, they are not."""
    assert over_tcp((CLIENT, said.dnp3(b"\xc0\2" + kind + b"\0\0\1\1\2"))).odd == [b"dnp3.unknown_object"]
    assert over_tcp((CLIENT, said.dnp3(b"\xc0\1" + kind + b"\6"))).odd == []


@pytest.mark.parametrize(("at", "odd"), [(8, b"dnp3.bad_link_crc"), (-1, b"dnp3.bad_transport_crc")])
def test_wrong_checksums_are_odd(at: int, odd: bytes) -> None:
    frame = bytearray(said.DNP3_READ)
    frame[at] ^= 1
    assert over_tcp((CLIENT, bytes(frame))).odd == [odd]


# BitTorrent


def test_the_dht() -> None:
    asked, answered, looked, found, wrong = over_udp(*UDP["bittorrent-dht"]).events
    own, other = b"abcdefghij0123456789".hex(), b"mnopqrstuvwxyz123456".hex()
    assert asked == {
        "transaction_id": "6161", "client_version": "55540102", "request_type": "ping", "request": {"id": own},
    }  # fmt: skip
    assert answered == {"transaction_id": "6161", "response": {"id": other}}
    assert looked["request"] == {"id": own, "info_hash": other}
    assert found["response"] == {
        "id": own, "nodes": [{"id": own, "ip": "192.0.2.1", "port": 6881}],
        "values": [{"ip": "192.0.2.2", "port": 6881}], "token": b"abc".hex(),
    }  # fmt: skip
    assert wrong["error"] == {"num": 201, "msg": "Wrong"}


def test_peers() -> None:
    heard = over_tcp(*said.BT_PEERS)
    assert heard.events == [
        {
            "info_hash": "68" * 20,
            "client": {
                "peer_id": b"-TR4050-abcdefghijkl".hex(), "reserved": "0000000000100005",
                "extensions": ["extension_protocol", "fast", "dht"], "client": "TR4050",
            },
            "server": {"peer_id": b"M7-9-2--abcdefghijkl".hex(), "reserved": "00" * 8},
        }
    ]  # fmt: skip
    assert heard.of("bittorrent.info_hash") == [b"h" * 20] * 2
    assert heard.of("bittorrent.peer_id") == [b"-TR4050-abcdefghijkl", b"M7-9-2--abcdefghijkl"]


@pytest.mark.parametrize("answer", [b"", b"no peer at all" * 9])
def test_a_peer_that_gets_no_handshake_is_logged_at_the_end(answer: bytes) -> None:
    (only,) = over_tcp((CLIENT, said.BT_CLIENT), (SERVER, answer)).events
    assert list(only) == ["info_hash", "client"]


def test_a_list_of_lists_has_a_bound() -> None:
    heard = over_udp((CLIENT, said.DHT[0]), (CLIENT, b"l" * 60_000))
    assert heard.odd == [b"bittorrent-dht.malformed_packet"]


# Modbus

STRANGE = said.mbap(2, b"\6\0\1\0\2")[:2] + b"\0\7" + said.mbap(2, b"\6\0\1\0\2")[4:]
"""A message of another protocol, by what it says: a server passes it over, and reads on."""
WRITE = (CLIENT, said.mbap(1, b"\6\0\1\0\2")), (SERVER, said.mbap(1, b"\6\0\1\0\2"))


@pytest.mark.parametrize(
    ("turns", "odd"),
    [
        ((), []),
        (((CLIENT, said.mbap(2, b"\6\0\1\0\2")), (SERVER, said.mbap(2, b"\6\0\1\0\3"))), ["value_mismatch"]),
        (((CLIENT, said.mbap(2, b"\6\0\1\0\2")), (SERVER, said.mbap(2, b"\x86\x0a"))), []),
        (((CLIENT, said.mbap(2, b"\6\0\1\0\2")), (SERVER, said.mbap(2, b"\x86\x09"))), ["invalid_exception_code"]),
        (((CLIENT, said.mbap(2, b"\0\0\1\0\2")),), ["invalid_function_code"]),
        (((CLIENT, said.mbap(2, b"\x7f\0\1\0\2")),), []),
        (((CLIENT, said.mbap(2, b"\x82\0\1\0\2")),), ["invalid_function_code"]),
        (((CLIENT, said.mbap(2, b"\6\0\1")),), ["invalid_length"]),
        (((CLIENT, said.mbap(2, b"\1\0\1\xff\xff")),), ["invalid_value"]),
        (((CLIENT, STRANGE), (CLIENT, said.mbap(3, b"\1\0\1\xff\xff"))), ["invalid_protocol_id", "invalid_value"]),
        (((CLIENT, said.mbap(2, b"\6\0\1\0\2")), (SERVER, STRANGE)), []),
        (((SERVER, said.mbap(2, b"\6\0\1\0\2")),), ["unsolicited_response"]),
        (tuple([(CLIENT, said.mbap(number, b"\6\0\1\0\2")) for number in range(2, 67)]), ["flooded"]),
    ],
)  # fmt: skip
def test_what_is_odd_about_modbus(turns: tuple[tuple[Direction, bytes], ...], odd: list[str]) -> None:
    """As Suricata 7 has it, whose flood are 500 requests without an answer."""
    assert over_tcp(*WRITE, *turns).odd == [f"modbus.{name}".encode() for name in odd]


# Recognised alone


NFS_CALL = bytes.fromhex("00000001 00000000 00000002 000186a3 00000003 00000000") + bytes(16)


@pytest.mark.parametrize(
    ("side", "data", "name"),
    [
        (CLIENT, bytes.fromhex("80000028") + NFS_CALL, "nfs"),
        (CLIENT, bytes.fromhex("80000028") + NFS_CALL.replace(b"\x86\xa3", b"\x86\xa0"), None),
    ],
)
def test_those_without_a_parser_have_a_name(side: Direction, data: bytes, name: str | None) -> None:
    assert over_tcp((side, data)).flow.app_proto == (name or "failed")


def test_nfs_over_udp_has_a_name() -> None:
    assert over_udp((CLIENT, NFS_CALL)).flow.app_proto == "nfs"


# TFTP, NTP


def test_tftp() -> None:
    assert over_udp((CLIENT, said.TFTP_READ)).events == [{"packet": "read", "file": "boot.img", "mode": "octet"}]


def test_ntp_is_known_at_its_port_alone() -> None:
    heard = over_udp((CLIENT, said.NTP_CLIENT), (CLIENT, said.NTP_MONLIST), dport=123)
    assert heard.events[0] == {"version": 4, "mode": 3, "stratum": 0, "reference_id": "00:00:00:00"}
    assert heard.of("ntp.request_code") == [b"42"]
    assert over_udp((CLIENT, said.NTP_CLIENT)).flow.app_proto != "ntp"


# Hostile bytes

MESSAGES = [data for turns in (*UDP.values(), *TCP.values()) for _, data in turns]


@given(st.data())
def test_no_bytes_make_a_parser_fail(data: st.DataObject) -> None:
    """Whatever follows a message that made a flow known, and however it is mutilated."""
    first = data.draw(st.sampled_from(MESSAGES))
    seeds = st.sampled_from(MESSAGES) | st.binary(max_size=80)
    turns = [(CLIENT, first)]
    for _ in range(data.draw(st.integers(1, 4))):
        piece = bytearray(data.draw(seeds))
        for _ in range(data.draw(st.integers(0, 4))):
            if piece:
                piece[data.draw(st.integers(0, len(piece) - 1))] = data.draw(st.integers(0, 255))
        turns.append((data.draw(st.sampled_from([CLIENT, SERVER])), bytes(piece)))
    for heard in (over_tcp(*turns), over_udp(*turns)):
        errors = [name for name in heard.counters.values if name.startswith("app_layer.error")]
        assert errors == []
        for one in heard.seen:
            dict(one.fields)


def test_a_message_that_never_ends_is_bounded() -> None:
    heard = over_tcp(
        (CLIENT, said.MQTT_CONNECT + b"\x30\xff\xff\xff\x7f" + bytes(3_000_000)), mqtt={"memcap_bytes": 65536}
    )
    counted = heard.counters.values
    assert counted["mqtt.skipped_bytes"] > 2_900_000


# EtherNet/IP


def test_enip() -> None:
    heard = over_tcp(*TCP["enip"])
    assert heard.of("enip.command") == [b"101", b"101", b"111", b"111", b"112", b"112", b"111", b"111", b"102"]
    assert [one.direction for one in heard.seen] == [direction for direction, _ in TCP["enip"]]
    registered = {"protocol_version": 1, "options": 0}
    assert heard.events[0] == {
        "request": {"command": "RegisterSession", "status": "Success", "register_session": registered}
    }
    steps = [("class", 246), ("instance", 1), ("attribute", 6)]
    assert heard.events[2] == {
        "request": {
            "command": "SendRRData",
            "status": "Success",
            "cip": {
                "service": "Set Attribute Single",
                "path": [{"segment_type": kind, "value": value} for kind, value in steps],
                "class_name": "Ethernet Link",
            },
        }
    }
    assert heard.events[5] == {
        "response": {
            "command": "SendUnitData",
            "status": "Success",
            "cip": {
                "service": "Multiple Service Packet",
                "status": "Embedded service error",
                "multiple": [{"service": "Set Attribute Single", "status": "Attribute not settable"}],
            },
        }
    }
    assert heard.events[7] == {"response": {"command": "SendRRData", "status": "InvalidSession"}}
    assert heard.events[8] == {"request": {"command": "UnregisterSession", "status": "Success"}}


@pytest.mark.parametrize(
    ("service", "asked"),
    [
        (said.CIP_SET, [b"16", b"16,246", b"16,246,6"]),
        (said.CIP_LIST, [b"3", b"3,395", b"3,395,1", b"3,395,6"]),
        (b"\x90\0\0\0", []),
        (b"\x4b\0", [b"75"]),
        (b"\x4b\3\x91\3tag\0", [b"75"]),
        (b"\x0e\4\x91\1t\0\x20\1\x30\7", [b"14", b"14,1", b"14,1,7"]),
        (b"\x0e\4\1\0\x20\1\x24\1\x30\7", [b"14", b"14,1", b"14,1,7"]),
        (b"\x0e\x7f\x20", [b"14"]),
        (b"\4\2\x20\1\x24\1\2\0\7\0xx\x08\0yy", [b"4", b"4,1", b"4,1,7"]),
        (said.several(said.CIP_SET, said.several(b"\x4b\0")),
         [b"10", b"10,2", b"16", b"16,246", b"16,246,6", b"75"]),
        (said.several(*[b"%c\0" % code for code in range(11, 128)]), 64),
        (b"\x52\2\x20\6\x24\1\5\x9d\2\0\x4b\0", [b"82", b"82,6", b"75"]),
        (b"\x52\2\x20\7\x24\1\5\x9d\2\0\x4b\0", [b"82", b"82,7"]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("connected", [True, False])
def test_what_is_asked_of_a_device(service: bytes, asked: list[bytes] | int, connected: bool) -> None:
    """Also within a packet of several, or one that a device passes on; never more than `MAX_SERVICES` of a message."""
    found = over_tcp((CLIENT, said.cip(service, connected=connected))).of("cip.service")
    assert (len([one for one in found if b"," not in one]) if isinstance(asked, int) else found) == asked


def test_lists_of_devices_are_known_in_datagrams() -> None:
    heard = over_udp((CLIENT, said.ENIP_IDENTITY[0]), (SERVER, said.ENIP_IDENTITY[1]))
    assert (heard.flow.app_proto, heard.of("enip.command")) == ("enip", [b"99", b"99"])


@pytest.mark.parametrize("data", [said.enip(0x63)[:-1], said.enip(0x63) + b"x", said.enip(0x65), b"c" * 24, b""])
def test_other_datagrams_are_not_enip(data: bytes) -> None:
    assert over_udp((CLIENT, data)).flow.app_proto != "enip"


@given(st.binary(max_size=200), st.booleans())
def test_no_service_makes_it_fail(service: bytes, connected: bool) -> None:
    heard = over_tcp((CLIENT, said.cip(service, connected=connected)), (CLIENT, said.enip(0x66)))
    assert heard.of("enip.command")[-1] == b"102"
    assert len(heard.events) == 2


@pytest.mark.parametrize("step", [0, 1, 5])
@pytest.mark.parametrize(
    ("name", "port", "unread"),
    [
        ("modbus", 502, b"\0\1\0\0\0\3\1\x41\0"),
        ("modbus", 502, b"\0\1\0\0\0\x06\1\x64" + bytes(4)),
        ("modbus", 502, b"\0\1\0\0\0\xfe\1\x41" + bytes(252)),
        ("enip", 44818, b"\0\0\x10\0" + bytes(20) + b"A" * 16),
        ("enip", 44818, b"\xee\xee\0\2" + bytes(20) + b"A" * 512),
    ],
)
def test_a_request_that_no_device_knows_hides_none_behind_it(name: str, port: int, unread: bytes, step: int) -> None:
    """A device refuses the one and carries out the other, whatever function or command comes first."""
    asked = b"".join(data for side, data in TCP[name] if side is Direction.TO_SERVER)
    plain, hidden = Wire().client(asked), Wire()
    hidden.flow.columns.dport[hidden.flow.slot] = port
    said = unread * 3 + asked
    for at in range(0, len(said), step or len(said)):
        hidden.client(said[at : at + (step or len(said))])
    assert plain.seen
    assert [dict(row.buffers) for row in hidden.seen] == [dict(row.buffers) for row in plain.seen]
    assert hidden.flow.app_proto == name
