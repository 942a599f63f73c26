"""Options that look addresses up: ``geoip``, ``iprep``, and a ``dataset`` behind ``ip.src`` or ``ip.dst``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ids.later import late_pattern
from ids.rules.language.remedies import nearest
from ids.rules.language.suricata.draft import Draft
from ids.rules.language.suricata.faults import Malformed, Unsupported
from ids.rules.language.suricata.words import commas, number, refuse_value, required, unquoted
from ids.rules.model.geoip import InCountries
from ids.rules.model.header import AddressIn
from ids.rules.model.reputation import COMPARISONS, MAX_SCORE, Scored

ENDS = ("src", "dst", "any", "both")
BUFFERS = {"ip.src": "src", "ip.dst": "dst"}
"""Buffers of which lists are asked, and nothing else."""

_COUNTRY = late_pattern(r"!?[A-Z]{2}")


def sticky(buffer: str) -> Callable[[Draft, str | None], None]:
    """Return what ``ip.src`` and ``ip.dst`` do: the next option is a ``dataset`` on the address."""
    return partial(_stick, buffer)


def _stick(buffer: str, draft: Draft, value: str | None) -> None:
    refuse_value(value)
    draft.stick(buffer)


def geoip(draft: Draft, value: str | None) -> None:
    """``geoip:src,RU,CN`` or ``geoip:any,!DE``: the country of an address."""
    words = commas(unquoted(required(value)))
    end = words.pop(0) if words[0] in ENDS else "any"
    wrong = next((word for word in words if _COUNTRY.fullmatch(word) is None), None)
    if not words or wrong is not None:
        raise Malformed(f"{(wrong or '')[:40]!r} is no country", "write two capital letters, such as DE")
    if len({word[0] == "!" for word in words}) > 1:
        raise Malformed("some countries are excepted, and some are not", "write all with !, or none")
    if draft.countries is None:
        raise Unsupported("keyword geoip", "no file of countries is named", "set rules.geoip_database")
    codes = frozenset(word.lstrip("!") for word in words)
    members = InCountries(draft.countries(), codes, words[0][0] == "!")
    draft.header_tests.append(AddressIn(end, f"countries {','.join(words)}", members))


def iprep(draft: Draft, value: str | None) -> None:
    """``iprep:any,BadHosts,>,30``: the reputation of an address."""
    words = commas(unquoted(required(value)))
    if len(words) != 4 or words[0] not in ENDS or words[2] not in COMPARISONS:
        raise Malformed("it is no end, category, comparison and number", "such as iprep:src,BadHosts,>,30")
    end, name, comparison, score = words
    reputation = draft.reputation
    if not reputation.categories:
        remedy = "set rules.reputation_categories and rules.reputation_files"
        raise Unsupported("keyword iprep", "no categories are known", remedy)
    if name not in reputation.categories:
        raise Malformed(f"unknown category {name[:40]!r}", nearest(name, list(reputation.categories)))
    category = reputation.of.get(reputation.categories[name])
    members = Scored(category, reputation.known, comparison, number(score, 0, MAX_SCORE))
    draft.header_tests.append(AddressIn(end, f"reputation {name} {comparison} {score}", members, lasting=True))
