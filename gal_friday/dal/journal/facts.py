"""Facts: what the exchange said, in a form that is kept on disk and taken by a database later."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Self, TypedDict
from uuid import UUID

from sqlalchemy import inspect
from sqlalchemy.types import TypeDecorator

from gal_friday.dal.models import Order, OrderStatus, ReportSource, new_id
from gal_friday.dal.models.types import (
    DIALECT,
    ClosedSet,
    ExactNumeric,
    Identifier,
    Json,
    Money,
    UtcDateTime,
    dumps,
)
from gal_friday.dal.order_names import OrderKey, OrderName, id_of
from gal_friday.dal.repositories.order_reports import ReportOutcome
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.upserts import given_values

_FROM_TEXT: dict[type[Any], Callable[[str], Any]] = {
    ExactNumeric: Decimal,
    UtcDateTime: datetime.fromisoformat,
    Identifier: UUID,
}


class Told(TypedDict, total=False):
    """What any report may tell besides; `raw` is it as received, `source` how it reached us."""

    exchange_order_id: str | None
    reason: str | None
    source: ReportSource
    raw: dict[str, Any] | None


class StatusTold(Told, total=False):
    """What a report of a status may tell besides; `filled_quantity` is all filled so far, in base units."""

    filled_quantity: Decimal | None


class Amended(TypedDict, total=False):
    """What was amended of an order: base units and prices."""

    quantity: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None


@dataclass(frozen=True, slots=True)
class StatusReport:
    """An order stood at *status* as of *at*; see `OrderRepository.record_report`."""

    order: OrderName
    status: OrderStatus
    at: datetime
    told: StatusTold

    @property
    def exchange_order_id(self) -> str | None:
        """The exchange's id, where the fact tells it."""
        return self.told.get("exchange_order_id")

    async def take(self, uow: UnitOfWork) -> ReportOutcome:
        """Let the report take effect."""
        order_id = await id_of(uow, self.order)
        return await uow.orders.record_report(order_id, self.status, at=self.at, **self.told)

    def to_json(self) -> dict[str, Any]:
        """Raises InvalidValue for what no column can hold."""
        status = ClosedSet(OrderStatus).process_bind_param(self.status, DIALECT)
        return {
            "order": _name_to_json(self.order),
            "status": status,
            "at": _time(self.at),
            **_told(self.told),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        order, status, at = (
            _name_from_json(data.pop("order")),
            OrderStatus(data.pop("status")),
            data.pop("at"),
        )
        if "filled_quantity" in data:
            data["filled_quantity"] = Decimal(data["filled_quantity"])
        return cls(order, status, datetime.fromisoformat(at), _told_again(data))


@dataclass(frozen=True, slots=True)
class AmendmentReport:
    """An order was amended as of *at*; see `OrderRepository.record_amendment`."""

    order: OrderName
    at: datetime
    amended: Amended
    told: Told

    @property
    def exchange_order_id(self) -> str | None:
        """The exchange's id, where the fact tells it."""
        return self.told.get("exchange_order_id")

    async def take(self, uow: UnitOfWork) -> ReportOutcome:
        """Let the report take effect."""
        order_id = await id_of(uow, self.order)
        return await uow.orders.record_amendment(order_id, at=self.at, **self.amended, **self.told)

    def to_json(self) -> dict[str, Any]:
        """Raises InvalidValue for what no column can hold."""
        amended = {name: Money().process_bind_param(value, DIALECT) for name, value in self.amended.items()}
        return {
            "order": _name_to_json(self.order),
            "at": _time(self.at),
            "amended": {name: value for name, value in amended.items() if value is not None},
            **_told(self.told),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        order, at = _name_from_json(data.pop("order")), datetime.fromisoformat(data.pop("at"))
        amended: Any = {name: Decimal(value) for name, value in data.pop("amended").items()}
        return cls(order, at, amended, _told_again(data))


@dataclass(frozen=True, slots=True)
class FoundOrder:
    """An order was found at the exchange as of *at*; see `OrderRepository.adopt_external`."""

    order: Order
    at: datetime
    source: ReportSource
    raw: dict[str, Any] | None

    @property
    def exchange_order_id(self) -> str | None:
        """The exchange's id, where the fact tells it."""
        return self.order.exchange_order_id

    async def take(self, uow: UnitOfWork) -> ReportOutcome:
        """Let the finding take effect."""
        stored = await uow.orders.adopt_external(self.order, at=self.at, source=self.source, raw=self.raw)
        return ReportOutcome(stored, applied=True, moved=True)

    def to_json(self) -> dict[str, Any]:
        """Raises InvalidValue for what no column can hold."""
        columns = Order.__table__.columns
        given = {name: value for name, value in given_values(self.order).items() if value is not None}
        kept = {
            name: _type_of(columns[name]).process_bind_param(value, DIALECT) for name, value in given.items()
        }
        return {"order": kept, "at": _time(self.at), "source": ReportSource(self.source), "raw": self.raw}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        columns = inspect(Order).column_attrs
        names = {column.name: attribute.key for attribute in columns for column in attribute.columns}
        given = {
            names[name]: _again(Order.__table__.columns[name], value) for name, value in data["order"].items()
        }
        at = datetime.fromisoformat(data["at"])
        return cls(Order(**given), at, ReportSource(data["source"]), data["raw"])


@dataclass(frozen=True, slots=True)
class ReportedFill:
    """An execution, as the server function `apply_fills` takes it."""

    report: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """It is JSON already."""
        return self.report

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` gave."""
        return cls(data)


#: What is taken in a transaction of its own.
OrderFact = StatusReport | AmendmentReport | FoundOrder
_KINDS: dict[str, type[OrderFact | ReportedFill]] = {
    "fill": ReportedFill,
    "status": StatusReport,
    "amendment": AmendmentReport,
    "order": FoundOrder,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Fact:
    """Something the exchange said; *application* and *actor* heard it, and are on record with it."""

    content: OrderFact | ReportedFill
    actor: str | None
    application: str | None
    heard_at: datetime

    def encode(self) -> bytes:
        """One line of JSON. Raises InvalidValue for what no column can hold."""
        document = {
            "id": new_id(),
            "kind": _NAMES[type(self.content)],
            "heard_at": self.heard_at,
            "actor": self.actor,
            "application": self.application,
            "data": self.content.to_json(),
        }
        return dumps(Json().process_bind_param(document, DIALECT)).encode()

    @classmethod
    def decode(cls, line: bytes) -> Self:
        """What `encode` gave. Raises ValueError, KeyError or TypeError for anything else."""
        document = json.loads(line)
        return cls(
            content=_KINDS[document["kind"]].from_json(document["data"]),
            actor=document["actor"],
            application=document["application"],
            heard_at=datetime.fromisoformat(document["heard_at"]),
        )


def heard_at(line: bytes) -> datetime | None:
    """When the fact in *line* was heard; None for what is no fact."""
    try:
        at = datetime.fromisoformat(json.loads(line)["heard_at"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return at if at.tzinfo else None


def fills_as_facts(reports: str, *, actor: str | None, application: str | None) -> Sequence[bytes]:
    """*reports*, as `reports_of` gives them, each a fact of its own."""
    now = datetime.now(UTC)
    return [
        Fact(ReportedFill({"received_at": now, **report}), actor, application, now).encode()
        for report in json.loads(reports)
    ]


def _type_of(column: Any) -> TypeDecorator[Any]:
    assert isinstance(column.type, TypeDecorator)
    return column.type


def _again(column: Any, value: Any) -> Any:
    """*value* as Python has it, from its JSON."""
    for kind, from_text in _FROM_TEXT.items():
        if isinstance(column.type, kind):
            return from_text(value)
    return value


def _time(at: datetime) -> datetime | None:
    return UtcDateTime().process_bind_param(at, DIALECT)


def _told(told: Told) -> dict[str, Any]:
    given: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if "filled_quantity" in given:
        given["filled_quantity"] = Money().accept(given["filled_quantity"])
    return given


def _told_again(data: dict[str, Any]) -> Any:
    if "source" in data:
        data["source"] = ReportSource(data["source"])
    return data


def _name_to_json(name: OrderName) -> dict[str, Any]:
    return {"id": name} if isinstance(name, UUID) else asdict(name)


def _name_from_json(data: dict[str, Any]) -> OrderName:
    return UUID(data["id"]) if "id" in data else OrderKey(**data)
