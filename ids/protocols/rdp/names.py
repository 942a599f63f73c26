"""What Suricata calls the numbers of RDP ([MS-RDPBCGR] 2.2.1)."""

from __future__ import annotations

from locale import windows_locale

PROTOCOLS = {0: "rdp", 1: "ssl", 2: "hybrid", 4: "rds_tls", 8: "hybrid_ex"}
REQUEST_FLAGS = (
    (0x1, "restricted_admin_mode_required"), (0x2, "redirected_authentication_mode_required"),
    (0x8, "correlation_info_present"),
)  # fmt: skip
RESPONSE_FLAGS = (
    (0x1, "extended_client_data"), (0x2, "dynvc_gfx"), (0x8, "restricted_admin"), (0x10, "redirected_authentication"),
)  # fmt: skip
FAILURES = {
    1: "ssl required by server", 2: "ssl not allowed by server", 3: "ssl cert not on server", 4: "inconsistent flags",
    5: "hybrid required by server", 6: "ssl with user auth required by server",
}  # fmt: skip
CAPABILITIES = (
    (0x1, "support_errinfo_pdf"), (0x2, "want_32bpp_session"), (0x4, "support_statusinfo_pdu"),
    (0x8, "strong_asymmetric_keys"), (0x20, "valid_connection_type"), (0x40, "support_monitor_layout_pdu"),
    (0x80, "support_netchar_autodetect"), (0x100, "support_dynvc_gfx_protocol"), (0x200, "support_dynamic_time_zone"),
    (0x400, "support_heartbeat_pdu"),
)  # fmt: skip
VERSIONS = {
    0x80001: "v4", 0x80004: "v5", 0x80005: "v10.0", 0x80006: "v10.1", 0x80007: "v10.2", 0x80008: "v10.3",
    0x80009: "v10.4", 0x8000A: "v10.5", 0x8000B: "v10.6", 0x8000C: "v10.7",
}  # fmt: skip
KEYBOARDS = {1: "xt", 2: "ico", 3: "at", 4: "enhanced", 5: "1050", 6: "9140", 7: "jp"}
HINTS = {
    1: "modem", 2: "low_broadband", 3: "satellite", 4: "high_broadband", 5: "wan", 6: "lan", 7: "autodetect",
}  # fmt: skip
_BUILDS = {
    528: "Windows NT 3.1", 807: "Windows NT 3.5", 1057: "Windows NT 3.51", 1381: "Windows NT 4.0", 2195: "Windows 2000",
    2600: "Windows XP", 3790: "Windows Server 2003", 6000: "Windows Vista RTM", 6001: "Windows Vista SP1",
    6002: "Windows Vista SP2", 7600: "Windows 7 RTM", 7601: "Windows 7 SP1", 9200: "Windows 8", 9600: "Windows 8.1",
    10240: "Windows 10 TH1", 10586: "Windows 10 TH2", 14393: "Windows 10 RS1", 15063: "Windows 10 RS2",
    16299: "Windows 10 RS3", 17134: "Windows 10 RS4", 17763: "Windows 10 RS5",
}  # fmt: skip
_DEPTHS = {0xCA00: 4, 0xCA01: 8, 0xCA02: 15, 0xCA03: 16, 0xCA04: 24}
_HIGH_DEPTHS = frozenset((4, 8, 15, 16, 24))
_FIRST_DEPTHS = (0xCA00, 0xCA01)
UNKNOWN = "unknown"


def flags(value: int, known: tuple[tuple[int, str], ...]) -> list[str]:
    """Return the names of the bits of a number."""
    return [name for bit, name in known if value & bit]


def layout(number: int) -> str:
    """Return which language a keyboard is for: ``en-US``."""
    return windows_locale.get(number, UNKNOWN).replace("_", "-")


def build(number: int) -> str:
    """Return which Windows a build is."""
    return _BUILDS.get(number, UNKNOWN)


def depth(first: int, second: int | None, high: int | None) -> int | None:
    """Return how many bits a pixel has; the later a field, the better it knows."""
    if high in _HIGH_DEPTHS:
        return high
    return _DEPTHS.get(second or 0) or (_DEPTHS[first] if first in _FIRST_DEPTHS else None)
