"""A year of an organisation in minutes: each day its runs, each week a cleanup, by the planner and over a repository.

Seeded configurations with policies of several kinds are saved as often as each of them says; some belong to a wedding,
some are erased, some are held for a time, some lock. What the points that stay need is added up beside the repository,
from the contents that they name: what is stored beyond that, and is not locked, was kept too long. At the end every
point that should be there has to be, no other one may, and all that is stored is read and found whole.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from benchmarks.seeded import Seeded
from benchmarks.year_source import Content, YearFolder
from chassis.retention.planner import plan
from chassis.retention.points import Point, Source, Verdict
from contracts.retention import RetentionRules
from repository.backup.backup import backup
from repository.backup.options import BackupOptions
from repository.format import PackKind, decode_pack_header
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.prune.prune import PruneOptions, prune
from repository.retention.orders import forget
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import Body, buffers_of
from repository.upkeep.check import check
from repository.upkeep.check_report import Problem
from services.executor.adapters.cleanup_plane import MAX_UNUSED

BEGIN = datetime(2026, 1, 1, 3, tzinfo=UTC)
_ZONE = ZoneInfo("Europe/Berlin")
_TIER = "simulated"
_FILES = 4
_CHANGED = 0.35
_LENGTH_MIN, _LENGTH_MAX = 48 << 10, 192 << 10
_RULES = (
    RetentionRules(keep_daily=7, keep_weekly=4, keep_monthly=3, minimum_days=3),
    RetentionRules(keep_last=3, lock_days=14),
    RetentionRules(keep_within="30d", keep_monthly=6),
    RetentionRules(keep_daily=14, keep_yearly=1, maximum_days=90),
    RetentionRules(keep_weekly=8, minimum_days=30),
)
_EVERY_DAYS = (3, 7, 7, 14, 30)
_LOCKED_SHARE, _WEDDING_SHARE, _ERASED_SHARE, _HELD_SHARE = 0.1, 0.2, 0.04, 0.08
_LOCK_DAYS = 10


@dataclass(frozen=True)
class YearPlan:
    """What is simulated. `is_disjoint`: each version changes every file, so that no two points share a content."""

    configurations: int = 200
    days: int = 365
    is_disjoint: bool = False
    cleanup_days: int = 7
    max_unused: float = MAX_UNUSED
    seed: str = "year"


@dataclass
class YearFound:
    """What came of it. `excess`: byte-days stored beyond what anybody asked, by those that somebody asked."""

    runs: int = 0
    went: int = 0
    points: int = 0
    held_days: int = 0
    locked_waits: int = 0
    erased: int = 0
    asked_byte_days: int = 0
    excess_byte_days: float = 0
    metadata_bytes: int = 0
    needed_bytes: int = 0
    stored_bytes: int = 0
    rewritten_bytes: int = 0
    grown: dict[date, int] = field(default_factory=dict)

    @property
    def excess(self) -> float:
        """Of packs of contents, beyond the contents that points name and what locks keep, as each cleanup left it."""
        return self.excess_byte_days / max(self.asked_byte_days, 1)

    @property
    def space_factor(self) -> float:
        """All that the tier holds at the end, to the contents that the points there need."""
        return self.stored_bytes / self.needed_bytes


class _Store(MemoryObjectStore):
    """A tier in memory that knows which of its packs are of contents; the others are of trees."""

    def __init__(self, clock: "SimulatedClock") -> None:
        super().__init__(_TIER, locks=True, clock=clock)
        self._data: dict[str, int] = {}

    def put(self, key: str, body: Body, *, sha256: bytes | None = None, **options: Any) -> None:
        """As the memory store puts."""
        super().put(key, body, sha256=sha256, **options)
        if key.startswith("packs/") and decode_pack_header(buffers_of(body)[0]).kind is PackKind.DATA:
            self._data[key] = sum(map(len, buffers_of(body)))

    def stored(self) -> tuple[int, int]:
        """The bytes of packs of contents, and of everything."""
        there = self.contents()
        self._data = {key: length for key, length in self._data.items() if key in there}
        return sum(self._data.values()), sum(map(len, there.values()))


class SimulatedClock:
    """See `repository.ports.Clock`: it is what the simulation says."""

    def __init__(self) -> None:
        self.now = BEGIN

    def now_ns(self) -> int:
        """As the system's would."""
        return int(self.now.timestamp()) * 10**9


class _Configuration:
    """One configuration's year, as its seed has it."""

    def __init__(self, number: int, plan: YearPlan) -> None:
        draws = Seeded(plan.seed, "configuration", number)
        share = draws.uniform(4)
        self.number, self.label = number, f"configuration-{number:04d}"
        self.rules = _RULES[draws.integer(0, len(_RULES) - 1)]
        self.every = _EVERY_DAYS[draws.integer(0, len(_EVERY_DAYS) - 1)]
        self.lock_days = _LOCK_DAYS if share[0] < _LOCKED_SHARE else 0
        day = draws.integer(0, plan.days - 1)
        self.wedding = (BEGIN + timedelta(days=day)).date() if share[1] < _WEDDING_SHARE else None
        self.erased_on = draws.integer(plan.days // 4, plan.days - 1) if share[2] < _ERASED_SHARE else None
        begun = draws.integer(0, plan.days - 1)
        self.held = range(begun, begun + draws.integer(20, 90)) if share[3] < _HELD_SHARE else range(0)
        self.lengths = [int(each) for each in draws.integers(_FILES, _LENGTH_MAX - _LENGTH_MIN) + _LENGTH_MIN]
        self.generations = [0] * _FILES
        self.points: dict[str, tuple[Point, frozenset[Content]]] = {}

    def is_due(self, day: int) -> bool:
        """Whether it is saved on a day: it is not once it is erased."""
        return (day + self.number) % self.every == 0 and (self.erased_on is None or day < self.erased_on)

    def is_erased(self, day: int) -> bool:
        """Whether nothing but a hold keeps anything of it."""
        return self.erased_on is not None and day >= self.erased_on

    def contents(self, day: int, *, all_new: bool) -> list[Content]:
        """What it saves on a day on which it is due."""
        changes = Seeded("changes", self.number, day).uniform(_FILES)
        for file in range(_FILES):
            if all_new or changes[file] < _CHANGED:
                self.generations[file] = day + 1
        return [Content(self.number, file, self.generations[file], self.lengths[file]) for file in range(_FILES)]


class Year:
    """A simulation under way."""

    def __init__(self, plan: YearPlan, say: Callable[[str], None] = lambda _: None) -> None:
        self._plan, self._say = plan, say
        self._clock = SimulatedClock()
        self._store = _Store(self._clock)
        self._stored_as: dict[Content, float] = {}
        self._configurations = [_Configuration(number, plan) for number in range(plan.configurations)]
        self._found = YearFound()

    def run(self) -> YearFound:
        """All days of it. Raises `AssertionError` where something is lost, or is there that should not be."""
        key = KeyFile([bytes(range(32))])
        with Repository.init([self._store], key, clock=self._clock) as repository:
            before = 0
            for day in range(self._plan.days):
                self._clock.now = BEGIN + timedelta(days=day)
                self._save(repository, day)
                if day % self._plan.cleanup_days == self._plan.cleanup_days - 1 or day == self._plan.days - 1:
                    self._clean_up(repository, day)
                _, stored = self._store.stored()
                self._found.grown[self._clock.now.date()] = stored - before
                before = stored
                if day % 30 == 29:
                    found = self._found
                    self._say(
                        f"day {day + 1}: {found.runs} runs, {len(self._points())} points, {stored >> 20} MiB, "
                        f"{found.excess:.2%} kept beyond what was asked, {stored / self._needed():.3f}x what is needed"
                    )
            self._prove(repository)
        return self._found

    def _save(self, repository: Repository, day: int) -> None:
        before, _ = self._store.stored()
        fresh: set[Content] = set()
        for each in self._configurations:
            if not each.is_due(day):
                continue
            contents = each.contents(day, all_new=self._plan.is_disjoint)
            options = BackupOptions(
                run_token=f"{each.label} {day}",
                label=each.label,
                lock_days={_TIER: each.lock_days} if each.lock_days else {},
                workers=1,
            )
            done = backup(repository, YearFolder(contents), options=options)
            point = Point(id=done.snapshot_id, at=self._clock.now, is_proven=True, places=(_TIER,))
            each.points[point.id] = (point, frozenset(contents))
            fresh |= each.points[point.id][1] - self._stored_as.keys()
            self._found.runs += 1
        # What encryption, framing and packing add is asked for with the contents.
        length = sum(each.length for each in fresh)
        added = self._store.stored()[0] - before
        self._stored_as |= {each: each.length * added / length for each in fresh}

    def _clean_up(self, repository: Repository, day: int) -> None:
        tier = repository.tier(_TIER)
        until = tier.log.state.locked_until
        going: list[str] = []
        judged = [self._source(each, day, until) for each in self._configurations]
        for planned in plan(judged, self._clock.now):
            for found in planned.judgements:
                self._found.locked_waits += found.verdict is Verdict.WAIT
                if found.verdict is Verdict.GO:
                    going.append(found.point.id)
        for each in self._configurations:
            if each.is_erased(day) and day not in each.held:
                now = self._clock.now.timestamp()
                going += [name for name in each.points if until.get(name, 0) <= now]
        gone = set(going)
        if gone:
            forget(repository, sorted(gone), f"day {day}")
        for each in self._configurations:
            for name in gone & each.points.keys():
                del each.points[name]
        self._found.went += len(gone)
        self._found.held_days += sum(day in each.held for each in self._configurations)
        pruned = prune(repository, PruneOptions(max_unused=self._plan.max_unused))[_TIER]
        self._found.rewritten_bytes += pruned.stored_bytes
        if pruned.failed is not None:
            raise pruned.failed
        asked = self._needed() + pruned.locked_bytes
        self._found.asked_byte_days += asked
        self._found.excess_byte_days += max(0, self._store.stored()[0] - asked)

    def _source(self, configuration: _Configuration, day: int, until: Mapping[str, float]) -> Source:
        held = (f"the hold of {configuration.label}",) if day in configuration.held else ()
        points = [
            Point(
                id=point.id,
                at=point.at,
                is_proven=True,
                places=point.places,
                holds=held,
                locks=((_TIER, datetime.fromtimestamp(until[point.id], UTC)),) if until.get(point.id) else (),
            )
            for point, _ in configuration.points.values()
        ]
        return Source(
            id=configuration.label,
            points=points,
            rules=configuration.rules,
            zone=_ZONE,
            wedding=configuration.wedding,
        )

    def _points(self) -> set[str]:
        return {name for each in self._configurations for name in each.points}

    def _needed(self) -> int:
        contents: set[Content] = set()
        for each in self._configurations:
            for _, of in each.points.values():
                contents |= of
        return round(sum(self._stored_as[each] for each in contents))

    def _prove(self, repository: Repository) -> None:
        tier = repository.tier(_TIER)
        tier.refresh()
        if tier.snapshots().keys() != self._points():
            raise AssertionError("other points are there than should be")
        report = check(repository, read_percent=100.0)
        # Where nothing was to be locked, nothing is known of locks.
        if wrong := [each for each in report.findings if each.problem is not Problem.LOCKS_UNKNOWN]:
            raise AssertionError(f"not all is whole: {wrong[:3]}")
        found = self._found
        contents, found.stored_bytes = self._store.stored()
        found.points, found.needed_bytes = len(self._points()), self._needed()
        found.erased = sum(each.is_erased(self._plan.days) for each in self._configurations)
        found.metadata_bytes = found.stored_bytes - contents
