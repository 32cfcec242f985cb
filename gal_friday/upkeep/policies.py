"""How each partitioned table is cut, how far ahead, and how long its rows are kept."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import MappingProxyType

from gal_friday.config import UpkeepSettings
from gal_friday.errors import ConfigurationError


class Interval(StrEnum):
    """Length of a partition; each begins at midnight UTC, a week on Monday."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"

    def start_of(self, moment: datetime) -> datetime:
        """When the period that *moment* is in begins."""
        midnight = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        match self:
            case Interval.DAY:
                return midnight
            case Interval.WEEK:
                return midnight - timedelta(days=midnight.weekday())
            case Interval.MONTH:
                return midnight.replace(day=1)

    def after(self, start: datetime) -> datetime:
        """When the period after the one that begins at *start* does."""
        return self.start_of(start + timedelta(days={"day": 1, "week": 7, "month": 31}[self]))


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """From *start* up to, not including, *end*."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Policy:
    """How a table is partitioned."""

    interval: Interval
    #: How many periods after the current one have their partition already.
    ahead: int
    #: Partitions wholly older than this leave; None: they stay.
    retention: timedelta | None = None

    def periods(self, now: datetime) -> list[Period]:
        """The current period and those ahead of it."""
        found = [self.period_of(now)]
        while len(found) <= self.ahead:
            found.append(self.period_of(found[-1].end))
        return found

    def period_of(self, moment: datetime) -> Period:
        """The period *moment* is in."""
        start = self.interval.start_of(moment)
        return Period(start, self.interval.after(start))

    def name_of(self, table: str, period: Period) -> str:
        """What the partition is called: market_data_p2026_11, …_p2026_w47, …_p2026_11_21.

        One that begins or ends elsewhere, because its neighbour was cut otherwise, is named by its first day.
        """
        whole = period == self.period_of(period.start)
        match self.interval if whole else Interval.DAY:
            case Interval.MONTH:
                return f"{table}_p{period.start:%Y_%m}"
            case Interval.WEEK:
                return f"{table}_p{period.start:%G_w%V}"
            case _:
                return f"{table}_p{period.start:%Y_%m_%d}"


#: Only logs leave unless settings say so: a month of them. The audit record leaves through no retention.
DECLARED: Mapping[str, Policy] = MappingProxyType(
    {
        "market_data": Policy(Interval.MONTH, ahead=2),
        "market_trades": Policy(Interval.WEEK, ahead=2),
        "series_points": Policy(Interval.WEEK, ahead=2),
        "portfolio_snapshots": Policy(Interval.MONTH, ahead=2),
        "predictions": Policy(Interval.MONTH, ahead=2),
        "system_logs": Policy(Interval.WEEK, ahead=2, retention=timedelta(days=30)),
        "audit_log": Policy(Interval.MONTH, ahead=2),
    }
)
#: Kept until it has been archived elsewhere and its seals are checked, whatever settings say.
NEVER_RETIRED = frozenset({"audit_log"})


def policies(settings: UpkeepSettings) -> Mapping[str, Policy]:
    """The declared policies with what *settings* change.

    Raises ConfigurationError for a table that is not partitioned, or that no retention may take from.
    """
    named: dict[str, Iterable[str]] = {
        "intervals": settings.intervals,
        "ahead": settings.ahead,
        "retention_days": settings.retention_days,
    }
    for setting, tables in named.items():
        accepted = DECLARED.keys() - (NEVER_RETIRED if setting == "retention_days" else set())
        for unknown in sorted({*tables} - accepted):
            raise ConfigurationError(
                f"{unknown} is no table this can be said of",
                variable=f"GAL_FRIDAY_UPKEEP__{setting.upper()}",
                accepted=", ".join(sorted(accepted)),
            )
    return {table: _overridden(table, policy, settings) for table, policy in DECLARED.items()}


def _overridden(table: str, policy: Policy, settings: UpkeepSettings) -> Policy:
    changed = replace(
        policy,
        interval=Interval(settings.intervals.get(table, policy.interval)),
        ahead=settings.ahead.get(table, policy.ahead),
    )
    if table in settings.retention_days:
        days = settings.retention_days[table]
        changed = replace(changed, retention=None if days is None else timedelta(days=days))
    return changed


def free_parts(period: Period, taken: list[Period]) -> list[Period]:
    """What of *period* none of *taken*, which do not overlap one another, covers."""
    free, start = [], period.start
    for other in sorted(taken):
        if other.end <= start or other.start >= period.end:
            continue
        if other.start > start:
            free.append(Period(start, other.start))
        start = other.end
    if start < period.end:
        free.append(Period(start, period.end))
    return free
