"""Suricata's classification.config and reference.config: severities of classes, addresses of references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import NamedTuple

from ids.errors import Location, RuleError
from ids.later import late_pattern
from ids.rules.model.reputation import Reputation, read_reputation
from ids.rules.settings import RulesSettings

MAX_FILE_BYTES = 16 << 20

DEFAULT_PRIORITY = 3
"""Of a rule without class and priority, and of an unknown class."""

_DEFAULTS = """
not-suspicious, Not Suspicious Traffic, 3
unknown, Unknown Traffic, 3
bad-unknown, Potentially Bad Traffic, 2
attempted-recon, Attempted Information Leak, 2
successful-recon-limited, Information Leak, 2
successful-recon-largescale, Large Scale Information Leak, 2
attempted-dos, Attempted Denial of Service, 2
successful-dos, Denial of Service, 2
attempted-user, Attempted User Privilege Gain, 1
unsuccessful-user, Unsuccessful User Privilege Gain, 1
successful-user, Successful User Privilege Gain, 1
attempted-admin, Attempted Administrator Privilege Gain, 1
successful-admin, Successful Administrator Privilege Gain, 1
rpc-portmap-decode, Decode of an RPC Query, 2
shellcode-detect, Executable code was detected, 1
string-detect, A suspicious string was detected, 3
suspicious-filename-detect, A suspicious filename was detected, 2
suspicious-login, An attempted login using a suspicious username was detected, 2
system-call-detect, A system call was detected, 2
tcp-connection, A TCP connection was detected, 4
trojan-activity, A Network Trojan was detected, 1
unusual-client-port-connection, A client was using an unusual port, 2
network-scan, Detection of a Network Scan, 3
denial-of-service, Detection of a Denial of Service Attack, 2
non-standard-protocol, Detection of a non-standard protocol or event, 2
protocol-command-decode, Generic Protocol Command Decode, 3
web-application-activity, access to a potentially vulnerable web application, 2
web-application-attack, Web Application Attack, 1
misc-activity, Misc activity, 3
misc-attack, Misc Attack, 2
icmp-event, Generic ICMP event, 3
inappropriate-content, Inappropriate Content was Detected, 1
policy-violation, Potential Corporate Privacy Violation, 1
default-login-attempt, Attempt to login by a default username and password, 2
targeted-activity, Targeted Malicious Activity was Detected, 1
exploit-kit, Exploit Kit Activity Detected, 1
external-ip-check, Device Retrieving External IP Address Detected, 2
domain-c2, Domain Observed Used for C2 Detected, 1
pup-activity, Possibly Unwanted Program Detected, 2
credential-theft, Successful Credential Theft Detected, 1
social-engineering, Possible Social Engineering Attempted, 2
coin-mining, Crypto Currency Mining Activity Detected, 2
command-and-control, Malware Command and Control Activity Detected, 1
"""
"""The classes that Suricata defines where no file does: name, what it is called in events, priority."""


class Class(NamedTuple):
    """A class of rules."""

    category: str
    """What it is called in events."""
    priority: int


CLASSES: Mapping[str, Class] = {
    name: Class(category, int(priority))
    for name, category, priority in (line.split(", ") for line in _DEFAULTS.split("\n") if line)
}
"""Classes by name, where no file defines any."""

REFERENCES: Mapping[str, str] = {
    "url": "http://",
    "cve": "http://cve.mitre.org/cgi-bin/cvename.cgi?name=",
    "bugtraq": "http://www.securityfocus.com/bid/",
    "nessus": "http://cgi.nessus.org/plugins/dump.php3?id=",
    "md5": "http://www.threatexpert.com/report.aspx?md5=",
    "et": "http://doc.emergingthreats.net/",
    "etpro": "http://doc.emergingthreatspro.com/",
    "exploitdb": "http://www.exploit-db.com/exploits/",
    "secunia": "http://www.secunia.com/advisories/",
    "osvdb": "http://osvdb.org/show/osvdb/",
}
"""What stands before the text of a reference of each kind, where no file says so."""

_CLASSIFICATION = late_pattern(r"config\s+classification\s*:\s*([A-Za-z0-9_\-]+)\s*,([^,]*),\s*([0-9]{1,3})\s*")
_REFERENCE = late_pattern(r"config\s+reference\s*:\s*([A-Za-z0-9_\-]+)\s+(\S+)\s*")


@dataclass(slots=True)
class ConfigFiles:
    """What the files beside the rules say."""

    classes: Mapping[str, Class] = field(default_factory=lambda: CLASSES)
    references: Mapping[str, str] = field(default_factory=lambda: REFERENCES)
    countries: str | None = None
    """A file that says in which country an address is."""
    reputation: Reputation = field(default_factory=Reputation)

    def priority(self, classtype: str) -> int:
        """Return the priority of a class."""
        known = self.classes.get(classtype)
        return DEFAULT_PRIORITY if known is None else known.priority

    def category(self, classtype: str) -> str:
        """Return what a class is called in events; empty where that is not known."""
        known = self.classes.get(classtype)
        return "" if known is None else known.category

    def reference(self, kind: str, text: str) -> str:
        """Return a reference as an address, or as it stands where its kind is unknown."""
        before = self.references.get(kind)
        if before is None:
            return f"{kind},{text}"
        return text if kind == "url" and "://" in text else before + text


@dataclass(frozen=True, slots=True)
class ConfigPaths:
    """Where the files beside the rules are; None: the defaults."""

    classification: str | None = None
    reference: str | None = None
    threshold: str | None = None
    countries: str | None = None
    reputation_categories: str | None = None
    reputation: tuple[str, ...] = ()

    @classmethod
    def of(cls, settings: RulesSettings) -> ConfigPaths:
        """Return where the settings say that they are."""
        return cls(
            settings.classification_file, settings.reference_file, settings.threshold_file, settings.geoip_database,
            settings.reputation_categories, tuple(settings.reputation_files),
        )  # fmt: skip


def read_config_files(paths: ConfigPaths, errors: list[RuleError]) -> ConfigFiles:
    """Read the files that are given; faults go to ``errors``."""
    files = ConfigFiles()
    classification, reference = paths.classification, paths.reference
    if classification is not None:
        classes: dict[str, Class] = {}
        for found in _lines(classification, _CLASSIFICATION, "config classification: name,text,priority", errors):
            classes[found[1].lower()] = Class(intern(found[2].strip()), int(found[3]))
        files.classes = classes
    if reference is not None:
        references: dict[str, str] = {}
        for found in _lines(reference, _REFERENCE, "config reference: kind http://...", errors):
            references[found[1].lower()] = found[2]
        files.references = references
    files.countries = paths.countries
    files.reputation = read_reputation(paths.reputation_categories, paths.reputation, errors)
    return files


def _lines(path: str, shape: re.Pattern[str], wanted: str, errors: list[RuleError]) -> list[re.Match[str]]:
    """Return the lines of a file that are no comments, as ``shape`` has them."""
    text = read_text(path, errors)
    found: list[re.Match[str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = shape.fullmatch(line)
        if match is None:
            errors.append(
                RuleError(f"{line[:60]!r} is not expected here", Location(path, number, 1), f"write {wanted}")
            )
        else:
            found.append(match)
    return found


def read_text(path: str, errors: list[RuleError], limit: int = MAX_FILE_BYTES) -> str:
    """Return a file as Latin-1; empty, with an error, where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        errors.append(RuleError(f"cannot be read: {error.strerror}", Location(path), "correct the path"))
        return ""
    if len(raw) > limit:
        errors.append(RuleError(f"has more than {limit >> 20} MiB", Location(path), "divide it"))
        return ""
    return raw.decode("latin-1")
