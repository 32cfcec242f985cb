"""Metrics of the portfolio and of the bot itself."""

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from typing import ClassVar

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.instants import Instant, nanoseconds
from gal_friday.timeseries.measurements import Number
from gal_friday.timeseries.points import FieldValue, Measurement, finite


@dataclass(frozen=True, slots=True)
class PortfolioMetrics(Measurement):
    """How an account stands: amounts in its currency, exposure and drawdowns in percent of equity.

    *position_quantities* and *position_values* are by trading pair; BTC/USD becomes `position_qty_BTCUSD` and
    `position_value_BTCUSD`. What is None is not known, and left out.
    """

    measurement: ClassVar[str] = "portfolio_metrics"

    account_id: str
    at: InitVar[Instant]
    total_equity: Number | None = None
    available_balance: Number | None = None
    unrealized_pnl: Number | None = None
    realized_pnl_session: Number | None = None
    total_exposure_pct: Number | None = None
    daily_drawdown_pct: Number | None = None
    weekly_drawdown_pct: Number | None = None
    total_drawdown_pct: Number | None = None
    position_quantities: Mapping[str, Number] = field(default_factory=dict)
    position_values: Mapping[str, Number] = field(default_factory=dict)
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        amounts = {
            "total_equity": self.total_equity,
            "available_balance": self.available_balance,
            "unrealized_pnl": self.unrealized_pnl,
            "realized_pnl_session": self.realized_pnl_session,
            "total_exposure_pct": self.total_exposure_pct,
            "daily_drawdown_pct": self.daily_drawdown_pct,
            "weekly_drawdown_pct": self.weekly_drawdown_pct,
            "total_drawdown_pct": self.total_drawdown_pct,
        }
        quantities = _by_pair("position_qty_", self.position_quantities)
        values = _by_pair("position_value_", self.position_values)
        fields = {**_floats(amounts), **quantities, **values}
        self._is_exactly((("account_id", self.account_id),), fields, nanoseconds(at))


@dataclass(frozen=True, slots=True)
class SystemMetrics(Measurement):
    """How the bot does: shares in percent, memory in MiB, latencies in milliseconds, errors per call.

    *event_queue_depth* is an integer and *websocket_connected* a boolean; *others* are metrics of one's own,
    like the latency of one endpoint, of any type. What is None is not known, and left out.
    """

    measurement: ClassVar[str] = "system_metrics"

    host_id: str
    at: InitVar[Instant]
    module_id: str | None = None
    cpu_usage_pct: Number | None = None
    memory_usage_mb: Number | None = None
    event_queue_depth: int | None = None
    api_call_latency_ms: Number | None = None
    prediction_latency_ms: Number | None = None
    end_to_end_latency_ms: Number | None = None
    websocket_connected: bool | None = None
    api_error_rate: Number | None = None
    others: Mapping[str, FieldValue] = field(default_factory=dict)
    timestamp_ns: int = field(init=False)

    def __post_init__(self, at: Instant) -> None:
        if self.event_queue_depth is not None and type(self.event_queue_depth) is not int:
            raise InvalidValue("not a whole number", event_queue_depth=self.event_queue_depth)
        if self.websocket_connected is not None and type(self.websocket_connected) is not bool:
            raise InvalidValue("neither True nor False", websocket_connected=self.websocket_connected)
        floats = {
            "cpu_usage_pct": self.cpu_usage_pct,
            "memory_usage_mb": self.memory_usage_mb,
            "api_call_latency_ms": self.api_call_latency_ms,
            "prediction_latency_ms": self.prediction_latency_ms,
            "end_to_end_latency_ms": self.end_to_end_latency_ms,
            "api_error_rate": self.api_error_rate,
        }
        fields = _floats(floats)
        if self.event_queue_depth is not None:
            fields["event_queue_depth"] = self.event_queue_depth
        if self.websocket_connected is not None:
            fields["websocket_connected"] = self.websocket_connected
        tags: tuple[tuple[str, str], ...] = (("host_id", self.host_id),)
        if self.module_id is not None:
            tags += (("module_id", self.module_id),)
        if not self.others:
            self._is_exactly(tags, fields, nanoseconds(at))
            return
        if known := set(self.others) & {*floats, "event_queue_depth", "websocket_connected"}:
            raise InvalidValue("has an argument of its own", field=min(known))
        self._is(dict(tags), fields | dict(self.others), at)


def _floats(values: Mapping[str, Number | None]) -> dict[str, FieldValue]:
    return {name: finite(name, value) for name, value in values.items() if value is not None}


def _by_pair(prefix: str, values: Mapping[str, Number]) -> dict[str, FieldValue]:
    fields = _floats({prefix + pair.replace("/", ""): value for pair, value in values.items()})
    if len(fields) < len(values):
        raise InvalidValue("two pairs have one name without their slash", pairs=sorted(values))
    return fields
