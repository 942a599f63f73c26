"""Suricata's classification.config and reference.config: severities of classes, addresses of references."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ids.errors import Location, RuleError

MAX_FILE_BYTES = 16 << 20

DEFAULT_PRIORITY = 3
"""Of a rule without class and priority, and of an unknown class."""

_BY_PRIORITY = {
    1: "attempted-user unsuccessful-user successful-user attempted-admin successful-admin shellcode-detect"
    " trojan-activity web-application-attack inappropriate-content policy-violation targeted-activity exploit-kit"
    " domain-c2 credential-theft command-and-control",
    2: "bad-unknown attempted-recon successful-recon-limited successful-recon-largescale attempted-dos successful-dos"
    " rpc-portmap-decode suspicious-filename-detect suspicious-login system-call-detect unusual-client-port-connection"
    " denial-of-service non-standard-protocol web-application-activity misc-attack default-login-attempt"
    " external-ip-check pup-activity social-engineering coin-mining",
    3: "not-suspicious unknown string-detect network-scan protocol-command-decode misc-activity icmp-event",
    4: "tcp-connection",
}

CLASSES: Mapping[str, int] = {name: priority for priority, names in _BY_PRIORITY.items() for name in names.split()}
"""Priorities of the classes that Suricata defines, where no file does."""

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

_CLASSIFICATION = re.compile(r"config\s+classification\s*:\s*([A-Za-z0-9_\-]+)\s*,([^,]*),\s*([0-9]{1,3})\s*")
_REFERENCE = re.compile(r"config\s+reference\s*:\s*([A-Za-z0-9_\-]+)\s+(\S+)\s*")


@dataclass(slots=True)
class ConfigFiles:
    """What the files beside the rules say."""

    classes: Mapping[str, int] = field(default_factory=lambda: CLASSES)
    references: Mapping[str, str] = field(default_factory=lambda: REFERENCES)

    def priority(self, classtype: str) -> int:
        """Return the priority of a class."""
        return self.classes.get(classtype, DEFAULT_PRIORITY)

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


def read_config_files(paths: ConfigPaths, errors: list[RuleError]) -> ConfigFiles:
    """Read the files that are given; faults go to ``errors``."""
    files = ConfigFiles()
    classification, reference = paths.classification, paths.reference
    if classification is not None:
        classes: dict[str, int] = {}
        for found in _lines(classification, _CLASSIFICATION, "config classification: name,text,priority", errors):
            classes[found[1].lower()] = int(found[3])
        files.classes = classes
    if reference is not None:
        references: dict[str, str] = {}
        for found in _lines(reference, _REFERENCE, "config reference: kind http://...", errors):
            references[found[1].lower()] = found[2]
        files.references = references
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
