"""A LiveTradingEngine to test with, and the exchange it trades at."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from sqlalchemy import text

from gal_friday.dal.models import (
    AccountMode,
    EntryType,
    Fill,
    InstrumentKind,
    Order,
    OrderStatus,
    Side,
    Signal,
    SignalLog,
    Strategy,
)
from gal_friday.database import Database
from gal_friday.services.live.terms import Contract, EntryTerms
from gal_friday.services.live_engine import LiveTradingEngine
from gal_friday.services.order_gateway import Amendment, Answer
from gal_friday.state.leases import Lease
from tests.factories import EXCHANGE, MINUTE, NOON, a_strategy, an_instrument
from tests.state import values_of

INSTRUMENT = "GOLD_MINI"
#: The time of every lease is over.
EXPIRE = text("UPDATE instance_metadata SET lease_expires_at = now() - interval '1 second'")
PAIR = "GOLD_DEC/USD"
NEXT_PAIR = "GOLD_JAN/USD"
MULTIPLIER = Decimal(10)

_number = count()


@dataclass(frozen=True)
class Recovered:
    """A certificate that says what it is told to."""

    may_trade: bool = True


async def recovered(database: Database, *, account_id: str, lease: Lease) -> Recovered:
    """A recovery that finds nothing in the way."""
    async with database.transaction() as uow:
        await uow.leases.require(account_id)
    lease.check()
    return Recovered()


@dataclass
class Market:
    """An exchange that keeps what it is sent, and fills it when a test says so."""

    mode: AccountMode = AccountMode.PAPER
    exchange: str = EXCHANGE
    #: Raised instead of an answer, by the name of what is asked: before the exchange has acted, or after.
    before: dict[str, BaseException] = field(default_factory=dict)
    after: dict[str, BaseException] = field(default_factory=dict)
    refuses: set[str] = field(default_factory=set)
    asked: list[tuple[str, str]] = field(default_factory=list)
    orders: dict[str, Order] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    #: Awaited with every request, before the exchange acts and after.
    while_asked: Callable[[], Awaitable[None]] | None = None
    once_asked: Callable[[], Awaitable[None]] | None = None

    async def submit(self, order: Order) -> Answer:
        assert order.client_order_id not in self.orders, "sent twice"
        return await self._answer("submit", order)

    async def cancel(self, order: Order) -> Answer:
        return await self._answer("cancel", order)

    async def amend(self, order: Order, amendment: Amendment) -> Answer:
        return await self._answer("amend", order)

    async def find(self, order: Order) -> Answer | None:
        self.asked.append(("find", _name(order)))
        if error := self.before.get("find"):
            raise error
        return self._standing(order) if _name(order) in self.orders else None

    async def _answer(self, what: str, order: Order) -> Answer:
        self.asked.append((what, _name(order)))
        if self.while_asked is not None:
            await self.while_asked()
        if error := self.before.get(what):
            raise error
        if what in self.refuses:
            return Answer(accepted=False, reason=f"no {what} today")
        if what == "submit":
            self.orders[_name(order)] = order
        elif what == "cancel":
            self.ended.add(_name(order))
        if self.once_asked is not None:
            await self.once_asked()
        if error := self.after.get(what):
            raise error
        return self._standing(order)

    def _standing(self, order: Order) -> Answer:
        status = OrderStatus.CANCELED if _name(order) in self.ended else None
        return Answer(exchange_order_id=f"OX-{_name(order)}", status=status)

    def kinds(self, what: str | None = None) -> list[str]:
        """What was asked, in order: each with what the order is for."""
        return [
            f"{asked} {self.orders[name].extra['step']}" if name in self.orders else asked
            for asked, name in self.asked
            if what in {None, asked}
        ]


def _name(order: Order) -> str:
    assert order.client_order_id is not None
    return order.client_order_id


def filled(order: Order, price: int | str, quantity: Decimal | None = None) -> Fill:
    """A fill of what is left of *order*, or of *quantity*."""
    number = next(_number)
    return Fill(
        account_id=order.account_id,
        exchange=order.exchange,
        trading_pair=order.trading_pair,
        client_order_id=order.client_order_id,
        fill_id=f"T-{number}",
        side=order.side,
        quantity_filled=quantity or order.quantity,
        fill_price=Decimal(price),
        filled_at=NOON + timedelta(seconds=number),
    )


def a_received_signal(kind: str = "BASE_ENTRY", **overrides: Any) -> SignalLog:
    values = {
        "instrument": INSTRUMENT,
        "signal_type": kind,
        "price": Decimal(100),
        "signal_timestamp": NOON + next(_number) * MINUTE,
    }
    return SignalLog(**{**values, **overrides})


def a_proposal(strategy: Strategy, **overrides: Any) -> Signal:
    values = {
        "strategy_id": strategy.strategy_id,
        "exchange": EXCHANGE,
        "trading_pair": PAIR,
        "side": Side.BUY,
        "entry_type": EntryType.MARKET,
    }
    return Signal(**{**values, **overrides})


def terms(quantity: int = 2, stop: int | None = 90, **overrides: Any) -> EntryTerms:
    values: dict[str, Any] = {"quantity": Decimal(quantity), "stop": None if stop is None else Decimal(stop)}
    return EntryTerms(**{**values, **overrides})


def next_contract(**overrides: Any) -> Contract:
    values: dict[str, Any] = {
        "trading_pair": NEXT_PAIR,
        "reference_price": Decimal(102),
        "stop": Decimal(92),
    }
    return Contract(**{**values, **overrides})


async def a_traded_strategy(database: Database) -> Strategy:
    """A strategy of futures, whose two contracts are listed."""
    async with database.transaction() as uow:
        for pair in (PAIR, NEXT_PAIR):
            await uow.instruments.add(
                an_instrument(
                    trading_pair=pair,
                    base_currency=pair.partition("/")[0],
                    kind=InstrumentKind.FUTURE,
                    contract_multiplier=MULTIPLIER,
                )
            )
        return await uow.strategies.add(a_strategy(trading_pairs=[PAIR, NEXT_PAIR]))


def an_engine(database: Database, market: Market, **options: Any) -> LiveTradingEngine:
    values: dict[str, Any] = {
        "recover": recovered,
        "mode": AccountMode.PAPER,
        "answer_timeout_seconds": 5.0,
        "lease_seconds": 600.0,
    }
    return LiveTradingEngine(database, market, **{**values, **options})


@dataclass(frozen=True)
class Desk:
    """An engine that trades, and whom it trades for and where."""

    engine: Any  # its answers are read column by column
    market: Market
    database: Database
    strategy: Strategy

    async def base(self, price: int = 100, **overrides: Any) -> Any:
        """A base entry, filled at *price*."""
        outcome = await self.engine.base_entry(
            a_received_signal(), a_proposal(self.strategy), terms(**overrides)
        )
        assert outcome.order is not None
        await self.engine.fill(filled(outcome.order, price))
        return outcome

    async def pyramid(self, price: int = 110, **overrides: Any) -> Any:
        """A pyramid, filled at *price*."""
        outcome = await self.engine.pyramid(
            a_received_signal("PYRAMID", price=Decimal(price)), a_proposal(self.strategy), terms(**overrides)
        )
        assert outcome.order is not None, outcome.refusal
        await self.engine.fill(filled(outcome.order, price))
        return outcome

    async def entry(self, position_id: str) -> Any:
        """The entry as it is stored."""
        return await self.database.portfolio_positions.one((self.engine.account_id, position_id))

    async def stored_pyramid(self) -> Any:
        return await self.database.pyramiding_states.one((self.engine.account_id, INSTRUMENT))

    async def check_memory(self) -> None:
        """What the engine knows is what is stored."""
        live = await self.database.portfolio_positions.get_open_positions(account_id=self.engine.account_id)
        assert {p.position_id: values_of(p) for p in live} == {
            name: values_of(p) for name, p in self.engine.positions.items()
        }
        pyramids = await self.database.pyramiding_states.of_account(self.engine.account_id)
        assert {p.instrument: values_of(p) for p in pyramids} == {
            name: values_of(p) for name, p in self.engine.pyramids.items()
        }
