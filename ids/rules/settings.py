"""Settings of the rules stage: where rules come from, and how much memory and work matching may cost."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RulesSettings(BaseModel):
    """Which rules are loaded, and the bounds of matching."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    paths: list[str] = Field(
        ["base"],
        description="Rule files (`.yaml`, `.yml`, `.yar`, `.yara`, `.rules`) and directories of them, read in order. A"
        " bare `base` or `policy` that is no path of its own means the set that ships with the engine.",
    )
    strict: bool = Field(
        False,
        description="Refuse the load where a rule of a `.rules` file is bad or asks for what is not supported;"
        " otherwise that rule is left out, and the rest loads.",
    )
    classification_file: str | None = Field(
        None,
        description="Suricata's `classification.config`: the severities of the classes in `.rules` files. null: those"
        " of the classes that Suricata defines.",
    )
    reference_file: str | None = Field(
        None,
        description="Suricata's `reference.config`: the addresses that kinds of references in `.rules` files stand"
        " for. null: those of the usual kinds.",
    )
    threshold_file: str | None = Field(
        None,
        description="Suricata's `threshold.config`: which alerts of rules in `.rules` files are suppressed, and how"
        " often others come. A rule whose alert is suppressed drops and blocks as before: `respond.exceptions` are for"
        " that.",
    )
    geoip_database: str | None = Field(
        None,
        description="A file in MaxMind's format (GeoLite2 Country) that says in which country an address is, for"
        " `geoip`. null: rules with that option are left out.",
    )
    reputation_categories: str | None = Field(
        None, description="Suricata's `categories.txt`: the categories of `iprep`. null: such rules are left out."
    )
    reputation_files: list[str] = Field(
        [], description="Files with an address or a network, a category's number and a score a line, for `iprep`."
    )
    exclude: list[str] = Field(
        [], description="File name patterns that are skipped inside directories, such as `*-lab.yaml`."
    )
    disabled_sids: list[int] = Field([], description="Rules that are loaded and checked, but never match, by sid.")
    cache_dir: str | None = Field(
        None, description="Directory of compiled rules; null is `$XDG_CACHE_HOME/ids` or `~/.cache/ids`."
    )
    window_bytes: int = Field(
        1 << 20,
        ge=4096,
        description="Bytes of one direction of a flow that rules can look back on; the oldest go first. The default is"
        " the customary stream depth.",
    )
    memcap_bytes: int = Field(
        128 << 20,
        ge=1 << 20,
        description="Bytes retained for all flows together; above it the flow that was silent longest loses its own.",
    )
    transactions_per_flow: int = Field(
        64, ge=1, description="Unanswered requests of one flow whose buffers are kept for their response."
    )
    yara_timeout_s: int = Field(1, ge=1, le=60, description="Seconds that YARA may spend on one piece of data.")


DEFAULT_VARIABLES: dict[str, str | list[str]] = {
    "HOME_NET": ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"],
    "EXTERNAL_NET": "!$HOME_NET",
    "HTTP_SERVERS": "$HOME_NET",
    "SMTP_SERVERS": "$HOME_NET",
    "SQL_SERVERS": "$HOME_NET",
    "DNS_SERVERS": "$HOME_NET",
    "TELNET_SERVERS": "$HOME_NET",
    "AIM_SERVERS": "$EXTERNAL_NET",
    "DC_SERVERS": "$HOME_NET",
    "DNP3_SERVER": "$HOME_NET",
    "DNP3_CLIENT": "$HOME_NET",
    "MODBUS_SERVER": "$HOME_NET",
    "MODBUS_CLIENT": "$HOME_NET",
    "ENIP_SERVER": "$HOME_NET",
    "ENIP_CLIENT": "$HOME_NET",
    "HTTP_PORTS": "80",
    "SHELLCODE_PORTS": "!80",
    "ORACLE_PORTS": "1521",
    "SSH_PORTS": "22",
    "DNP3_PORTS": "20000",
    "MODBUS_PORTS": "502",
    "FILE_DATA_PORTS": "[$HTTP_PORTS,110,143]",
    "FTP_PORTS": "21",
    "GENEVE_PORTS": "6081",
    "VXLAN_PORTS": "4789",
    "TEREDO_PORTS": "3544",
    "SIP_PORTS": "[5060,5061]",
}
"""The names that Suricata's default configuration defines, with its values, so that imported rules find them.
HOME_NET has IPv6's private networks (RFC 4193) too."""
