"""A small part of PromQL, for tests alone: what the alert rules are written in, and nothing beyond it.

What it does not know it refuses, so that a rule never passes by being misread. Known: numbers, `time()`, selectors with
`=` and `!=`, `increase(selector[range])`, `absent(selector)`, `sum|min|max by (labels) (…)`, `* /`, `+ -`, comparisons
with a number on the right (they filter), and `or`. Two vectors are matched on equal labels. `increase` is what was
counted between the first and the last scrape of the range, resets included and without extrapolation: it is above zero
where Prometheus's is, and like there a series that is in one scrape only has none.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

Labels = frozenset[tuple[str, str]]
Vector = dict[Labels, float]
Value = float | Vector

NAME = "__name__"
JOB = "wedsync-backup"
_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?)(?![\w.])|(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)|(?P<text>\"[^\"]*\")"
    r"|(?P<range>\[\d+[smhd]\])|(?P<sign>==|!=|<=|>=|[-+*/<>(){},=]))"
)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    ">": lambda a, b: a > b,
    "<": lambda a, b: a < b,
    ">=": lambda a, b: a >= b,
    "<=": lambda a, b: a <= b,
}
_CALCULATE: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else (float("inf") if a else float("nan")),
}
_AGGREGATE: Mapping[str, Callable[[list[float]], float]] = {"sum": sum, "min": min, "max": max}


class NotUnderstood(ValueError):
    """An expression that is no part of the part."""


@dataclass
class Scrapes:
    """What was scraped when: each scrape all series of all targets, with `job` and `instance`, and `up`."""

    taken: list[tuple[float, Vector]] = field(default_factory=list)

    def add(self, time: float, targets: Mapping[str, str | None]) -> None:
        """Keep a scrape: by target the exposition text, None where it could not be had."""
        series: Vector = {}
        for instance, text in targets.items():
            own = {"job": JOB, "instance": instance}
            series[_labels({NAME: "up", **own})] = 0.0 if text is None else 1.0
            for family in text_string_to_metric_families(text or ""):
                for sample in family.samples:
                    series[_labels({NAME: sample.name, **sample.labels, **own})] = sample.value
        self.taken.append((time, series))

    def names(self) -> set[str]:
        """The names of all series of the last scrape."""
        return {dict(labels)[NAME] for labels in self.taken[-1][1]}

    def ask(self, expression: str, *, at: float | None = None) -> Value:
        """The value of an expression, right after the last scrape or at a later time that is still fresh to it."""
        return _Reader(expression, self, self.taken[-1][0] if at is None else at).read()


def names_in(expression: str) -> list[str]:
    """The names of the series that an expression asks for."""
    asked: list[str] = []
    _Reader(expression, Scrapes([(0.0, {})]), 0.0, asked).read()
    return asked


def counted_in(expression: str) -> list[str]:
    """The names of the counters of which an expression asks the increase."""
    return re.findall(r"increase\((\w+)", expression)


def _labels(labels: Mapping[str, str]) -> Labels:
    return frozenset(labels.items())


def _without_name(labels: Labels) -> Labels:
    return frozenset(each for each in labels if each[0] != NAME)


class _Reader:
    """Reads and evaluates at once, from left to right, tighter binding first."""

    def __init__(self, expression: str, scrapes: Scrapes, now: float, asked: list[str] | None = None) -> None:
        self._tokens = list(_tokens(expression))
        self._scrapes = scrapes
        self._now = now
        self._asked: list[str] = [] if asked is None else asked

    def read(self) -> Value:
        value = self._or()
        if self._tokens:
            raise NotUnderstood(f"what is {' '.join(text for _, text in self._tokens)}?")
        return value

    def _peek(self) -> str:
        return self._tokens[0][1] if self._tokens else ""

    def _take(self, kind: str | None = None, text: str | None = None) -> str:
        if not self._tokens or kind not in (None, self._tokens[0][0]) or text not in (None, self._tokens[0][1]):
            raise NotUnderstood(f"{text or kind} expected, not {self._peek() or 'the end'}")
        return self._tokens.pop(0)[1]

    def _or(self) -> Value:
        value = self._comparison()
        while self._peek() == "or":
            self._take()
            other = self._comparison()
            if isinstance(value, float) or isinstance(other, float):
                raise NotUnderstood("`or` is for vectors")
            known = {_without_name(labels) for labels in value}
            value = value | {labels: each for labels, each in other.items() if _without_name(labels) not in known}
        return value

    def _comparison(self) -> Value:
        value = self._sum()
        if self._peek() not in _COMPARE:
            return value
        compare, limit = _COMPARE[self._take()], self._sum()
        if isinstance(value, float) or not isinstance(limit, float):
            raise NotUnderstood("a comparison has a vector on its left and a number on its right")
        return {labels: each for labels, each in value.items() if compare(each, limit)}

    def _sum(self) -> Value:
        value = self._product()
        while self._peek() in ("+", "-"):
            value = _calculated(self._take(), value, self._product())
        return value

    def _product(self) -> Value:
        value = self._operand()
        while self._peek() in ("*", "/"):
            value = _calculated(self._take(), value, self._operand())
        return value

    def _operand(self) -> Value:
        if not self._tokens:
            raise NotUnderstood("it ends too early")
        kind, text = self._tokens[0]
        if kind == "number":
            return float(self._take())
        if text == "(":
            self._take()
            value = self._or()
            self._take(text=")")
            return value
        self._take("name")
        if text == "time":
            self._take(text="(")
            self._take(text=")")
            return float(self._now)
        if text == "increase":
            return self._increase()
        if text == "absent":
            return self._absent()
        if text in _AGGREGATE:
            return self._aggregation(_AGGREGATE[text])
        if self._peek() == "(":
            raise NotUnderstood(f"the function {text}")
        return self._selected(self._scrapes.taken[-1][1], text, self._matchers())

    def _matchers(self) -> list[tuple[str, bool, str]]:
        found: list[tuple[str, bool, str]] = []
        if self._peek() != "{":
            return found
        self._take()
        while True:
            label, sign, text = self._take("name"), self._take("sign"), self._take("text")
            if sign not in ("=", "!="):
                raise NotUnderstood(f"the matcher {sign}")
            found.append((label, sign == "=", text[1:-1]))
            if self._peek() != ",":
                self._take(text="}")
                return found
            self._take()

    def _selected(self, series: Vector, name: str, matchers: list[tuple[str, bool, str]]) -> Vector:
        self._asked.append(name)
        return {
            labels: value
            for labels, value in series.items()
            if (NAME, name) in labels
            and all((dict(labels).get(label, "") == text) is equal for label, equal, text in matchers)
        }

    def _increase(self) -> Vector:
        self._take(text="(")
        name, matchers, window = self._take("name"), self._matchers(), self._take("range")
        self._take(text=")")
        since = self._now - int(window[1:-2]) * _UNITS[window[-2]]
        counted: dict[Labels, list[float]] = {}
        for time, series in self._scrapes.taken:
            if since <= time <= self._now:
                for labels, value in self._selected(series, name, matchers).items():
                    counted.setdefault(_without_name(labels), []).append(value)
        return {labels: _grown(values) for labels, values in counted.items() if len(values) > 1}

    def _absent(self) -> Vector:
        """One series, of the labels that the selector names, where it selects none."""
        self._take(text="(")
        name, matchers = self._take("name"), self._matchers()
        self._take(text=")")
        if self._selected(self._scrapes.taken[-1][1], name, matchers):
            return {}
        return {_labels({label: text for label, is_equal, text in matchers if is_equal}): 1.0}

    def _aggregation(self, aggregate: Callable[[list[float]], float]) -> Vector:
        self._take(text="by")
        self._take(text="(")
        kept = [self._take("name")]
        while self._peek() == ",":
            self._take()
            kept.append(self._take("name"))
        self._take(text=")")
        self._take(text="(")
        value = self._or()
        self._take(text=")")
        if isinstance(value, float):
            raise NotUnderstood("a number is not aggregated")
        groups: dict[Labels, list[float]] = {}
        for labels, each in value.items():
            groups.setdefault(frozenset(pair for pair in labels if pair[0] in kept), []).append(each)
        return {labels: aggregate(values) for labels, values in groups.items()}


def _tokens(expression: str) -> Iterator[tuple[str, str]]:
    at = 0
    while expression[at:].strip():
        found = _TOKEN.match(expression, at)
        if found is None or found.lastgroup is None:
            raise NotUnderstood(f"what is {expression[at:].strip()}?")
        yield found.lastgroup, found[found.lastgroup]
        at = found.end()


def _grown(values: list[float]) -> float:
    """What a counter has counted, one that has begun anew included."""
    return sum(after if after < before else after - before for before, after in itertools.pairwise(values))


def _calculated(sign: str, left: Value, right: Value) -> Value:
    calculate = _CALCULATE[sign]
    if isinstance(left, float) and isinstance(right, float):
        return calculate(left, right)
    if isinstance(left, float):
        assert isinstance(right, dict)
        return {_without_name(labels): calculate(left, value) for labels, value in right.items()}
    if isinstance(right, float):
        return {_without_name(labels): calculate(value, right) for labels, value in left.items()}
    matching = {_without_name(labels): value for labels, value in right.items()}
    pairs = {_without_name(labels): value for labels, value in left.items()}
    return {labels: calculate(value, matching[labels]) for labels, value in pairs.items() if labels in matching}
