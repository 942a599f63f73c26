"""Reads the condition of a YARA rule for its cover: needles of which one stands in the data whenever it is true.

The grammar is that of libyara 4.5 (https://yara.readthedocs.io/en/stable/writingrules.html). Four facts carry it:

1. A conjunction has the cover of any of its parts, a disjunction that of all its parts together.
2. What is undefined is neither true nor equal to anything: a comparison with ``@a`` or ``!a`` needs a match of ``$a``.
3. Where ``k`` of ``n`` things hold, one of any ``n - k + 1`` of them does.
4. ``not``, ``none``, ``0 of``, ``defined`` and loops over nothing are true without a match.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ids.rules.language.yara_strings import NEVER, YaraCover, better, union
from ids.rules.language.yara_tokens import Token, Unknown
from ids.rules.language.yara_values import MIRRORED, Value, at_least_one, compared, number_of

MAX_DEPTH = 48
"""Parentheses and loops within each other: eight frames of Python each, far from its limit of a thousand."""

MAX_WORK = 1 << 22
"""Members and needles of sets looked at in one file: about a second; what comes then has no cover."""

_ALL = 0

_END = Token("end", "")
_THIS = (b"", False)
"""Stands for the needles of ``$``, the string of a loop's turn; no needle is empty."""

_ARITHMETIC = frozenset("+-*\\%&|^") | {"<<", ">>"}
_COMPARISONS = frozenset(MIRRORED) | {
    "contains", "icontains", "startswith", "istartswith", "endswith", "iendswith", "iequals", "matches",
}  # fmt: skip


class Work:
    """What the sets of a file may still cost."""

    def __init__(self) -> None:
        self._left = MAX_WORK

    def spend(self, members: int) -> None:
        """Note that so many members or needles are looked at; raise `Unknown` where it is too much."""
        self._left -= members
        if self._left < 0:
            raise Unknown("too large sets")


class Condition:
    """A parser of one condition."""

    def __init__(
        self,
        tokens: Sequence[Token],
        strings: Sequence[tuple[str, YaraCover | None]],
        rules: Mapping[str, YaraCover | None],
        work: Work,
    ) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0
        self._strings = strings
        self._by_name: dict[str, YaraCover | None] = dict(strings)
        self._rules = rules
        self._work = work
        self._variables: list[str] = []
        self._this: YaraCover | None = None

    def cover(self) -> YaraCover | None:
        """Return the cover of the whole condition; raise `Unknown` where it is not understood."""
        value = self._or()
        if self._peek() is not _END:
            raise Unknown(f"{self._peek().text[:40]!r} behind the condition")
        return value.true

    def _peek(self, ahead: int = 0) -> Token:
        place = self._next + ahead
        return self._tokens[place] if place < len(self._tokens) else _END

    def _take(self) -> Token:
        token = self._peek()
        self._next += 1
        return token

    def _accept(self, *texts: str) -> bool:
        if self._peek().text in texts:
            self._next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise Unknown(f"{self._peek().text[:40]!r} instead of {text}")

    def _or(self) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unknown("too deep")
        first = self._and()
        if self._peek().text == "or":
            parts = [first.true]
            while self._accept("or"):
                parts.append(self._and().true)
            self._work.spend(sum(len(found.needles) for found in parts if found is not None))
            first = Value(union(parts))
        self._depth -= 1
        return first

    def _and(self) -> Value:
        first = self._not()
        if self._peek().text == "and":
            parts = [first.true]
            while self._accept("and"):
                parts.append(self._not().true)
            first = Value(better(parts))
        return first

    def _not(self) -> Value:
        negated = False
        while self._accept("not", "defined"):
            negated = True
        value = self._comparison()
        return Value() if negated else value

    def _comparison(self) -> Value:
        if self._accept("for"):
            return self._for()
        if self._peek().text in ("all", "any", "none"):
            return self._of(self._quantifier())
        left = self._arithmetic()
        if self._peek().text == "of":
            return self._of(at_least_one(left.number))
        if self._peek().text == "%" and self._peek(1).text == "of":
            self._next += 1
            return self._of(at_least_one(left.number), percent=True)
        if self._peek().text not in _COMPARISONS:
            return left
        operator = self._take().text
        return compared(left, operator, self._arithmetic())

    def _arithmetic(self) -> Value:
        """Take a chain of operators; whether they bind more or less tightly does not matter here."""
        first = self._operand()
        parts = [first.defined]
        while self._peek().text in _ARITHMETIC and self._peek(1).text != "of":
            self._next += 1
            parts.append(self._operand().defined)
        if len(parts) == 1:
            return first
        found = better(parts)
        return Value(found, found)

    def _operand(self) -> Value:
        signs = 0
        negative = False
        while self._peek().text in ("-", "~"):
            negative = self._take().text == "-"
            signs += 1
        value = self._primary()
        if not signs:
            return value
        constant = -value.number if signs == 1 and negative and value.number is not None else None
        return Value(value.defined, value.defined, constant)

    def _primary(self) -> Value:
        token = self._take()
        if token.text == "(":
            value = self._or()
            self._expect(")")
            return value
        if token.kind == "string":
            if self._accept("at"):
                self._arithmetic()
            elif self._accept("in"):
                self._skip_brackets("(")
            return Value(self._string(token.text))
        if token.kind == "count":
            if self._accept("in"):
                self._skip_brackets("(")
            return Value(self._string(token.text), is_count=True)
        if token.kind == "place":
            if self._peek().text == "[":
                self._skip_brackets("[")
            found = self._string(token.text)
            return Value(found, found)
        if token.kind == "number":
            return Value(number=number_of(token.text))
        if token.kind == "word":
            return self._name(token.text)
        if token.kind in ("text", "regex", "float"):
            return Value()
        raise Unknown(f"{token.text[:40]!r} in a condition")

    def _string(self, name: str) -> YaraCover | None:
        name = name[1:]
        if not name and self._this is not None:
            return self._this
        if not name or name not in self._by_name:
            raise Unknown(f"no string ${name[:40]}")
        return self._by_name[name]

    def _name(self, name: str) -> Value:
        """Take a constant, a rule, a variable, or what modules have: ``pe.sections[0].name``, ``math.mean(0, 9)``."""
        if name == "false":
            return Value(NEVER)
        simple = True
        while self._peek().text in (".", "[", "("):
            simple = False
            if self._accept("."):
                self._take()
            else:
                self._skip_brackets(self._peek().text)
        return Value(self._rules.get(name)) if simple and name not in self._variables else Value()

    def _skip_brackets(self, opening: str) -> None:
        """Pass over a range, an index or arguments, to the bracket that closes them."""
        self._expect(opening)
        depth = 1
        while depth:
            token = self._take()
            if token is _END:
                raise Unknown("a bracket is open")
            if token.kind == "single":
                depth += (token.text in "([") - (token.text in ")]")

    def _quantifier(self) -> int | None:
        """Take how many, or `_ALL`; None where it is not known to be one or more."""
        if self._accept("all"):
            return _ALL
        if self._accept("any"):
            return 1
        if self._accept("none"):
            return None
        return at_least_one(self._arithmetic().number)

    def _of(self, number: int | None, percent: bool = False) -> Value:
        """Take ``of`` and a set of strings or rules, and where they are to be."""
        self._expect("of")
        members = self._set()
        if self._accept("at"):
            self._arithmetic()
        elif self._accept("in"):
            self._skip_brackets("(")
        if number is not None and percent:
            number = -(-len(members) * number // 100)
        return Value(self._some(members, number))

    def _set(self) -> list[YaraCover | None]:
        """Take a set; return the covers of its members."""
        if self._accept("them"):
            self._work.spend(len(self._strings))
            return [found for _, found in self._strings]
        self._expect("(")
        members: list[YaraCover | None] = []
        while True:
            token = self._take()
            if token.kind in ("string", "wildcard"):
                members += self._matching(token.text[1:], self._strings)
            elif token.kind == "word" and token.text not in self._variables:
                members += self._matching(token.text + "*" * self._accept("*"), self._rules.items())
            else:
                raise Unknown(f"{token.text[:40]!r} in a set")
            if not self._accept(","):
                break
        self._expect(")")
        return members

    def _matching(self, name: str, known: Collection[tuple[str, YaraCover | None]]) -> list[YaraCover | None]:
        """Return the members that a name, or the start of one with a star, stands for."""
        self._work.spend(len(known))
        prefix = name.removesuffix("*")
        found = [c for other, c in known if other == name or (prefix != name and other.startswith(prefix))]
        if not found:
            raise Unknown(f"nothing is named {name[:40]}")
        return found

    def _for(self) -> Value:
        number = self._quantifier()
        if self._accept("of"):
            return Value(self._for_of(number))
        variables = len(self._variables)
        while self._peek().kind == "word" and self._peek().text != "in":
            self._variables.append(self._take().text)
            self._accept(",")
        self._expect("in")
        if self._peek().text == "(":
            self._skip_brackets("(")
        else:
            self._name(self._take().text)
        body = self._body()
        del self._variables[variables:]
        return Value(None if number in (None, _ALL) else body)

    def _for_of(self, number: int | None) -> YaraCover | None:
        """Take a loop over strings: read the body once, then put each string's needles for ``$``."""
        if self._this is not None:
            raise Unknown("a loop over strings in another")
        members = self._set()
        rarity = min((found.rarity if found else 0.0 for found in members), default=0.0)
        self._this = YaraCover(frozenset([_THIS]), rarity)
        body = self._body()
        self._this = None
        if number is None or body is None:
            return None
        if _THIS not in body.needles:
            return body
        rest = YaraCover(body.needles - {_THIS}, body.rarity)
        self._work.spend(len(members) * len(body.needles))
        turns = members if not rest.needles else [union((rest, found)) for found in members]
        return self._some(turns, number)

    def _body(self) -> YaraCover | None:
        self._expect(":")
        self._expect("(")
        value = self._or()
        self._expect(")")
        return value.true

    def _some(self, members: Sequence[YaraCover | None], least: int | None) -> YaraCover | None:
        """Return the cover of at least so many members being true, with ``least`` as in `_quantifier`."""
        if least is None:
            return None
        needed = 1 if least == _ALL else max(1, len(members) - least + 1)
        usable = sorted((found for found in members if found is not None), key=lambda found: -found.worth)
        if len(usable) < needed:
            return None
        self._work.spend(sum(len(found.needles) for found in usable[:needed]))
        return union(usable[:needed])
