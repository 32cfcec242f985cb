"""What truly happens at the exchange: its orders, fills and balances. Nobody but the simulation sees this."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum

from tests.simulation.agenda import Agenda
from tests.simulation.ccxt_errors import (
    DuplicateOrderId,
    InsufficientFunds,
    InvalidOrder,
    OrderNotFound,
)
from tests.simulation.chance import Chance, weighted
from tests.simulation.market import Market

MAKER_RATE = Decimal("0.0016")
TAKER_RATE = Decimal("0.0026")
SMALLEST_FEE = Decimal("1e-8")
#: How far the account may go into debt: it trades on margin.
CREDIT = Decimal(10_000_000)


class CancelFate(StrEnum):
    """What becomes of an order somebody asks to cancel."""

    CANCELED = "canceled"
    LATER = "canceled at the next tick"
    FILLED_IN_PART = "filled in part, then canceled"
    FILLED = "filled just before"
    REFUSED = "cancel refused"


@dataclass(slots=True)
class VenueOrder:
    number: int
    client_order_id: str | None
    symbol: str
    type: str  # market, limit or stop
    side: str  # buy or sell
    amount: Decimal
    price: Decimal | None
    stop_price: Decimal | None
    created_at: datetime
    updated_at: datetime
    status: str = "open"  # open, closed, canceled or rejected
    filled: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    is_triggered: bool = False
    is_being_canceled: bool = False

    @property
    def id(self) -> str:
        return f"O{self.number:05d}"

    @property
    def remaining(self) -> Decimal:
        return self.amount - self.filled


@dataclass(frozen=True, slots=True)
class VenueFill:
    """`visible_at` is when the exchange's list of trades begins to have it."""

    number: int
    order: VenueOrder
    price: Decimal
    amount: Decimal
    fee: Decimal
    fee_currency: str
    is_maker: bool
    at: datetime
    visible_at: datetime

    @property
    def id(self) -> str:
        return f"T{self.number:05d}"


#: Told of an order that changed, with the fill that changed it.
Listener = Callable[[VenueOrder, VenueFill | None], None]


@dataclass(slots=True)
class Venue:
    """The matching of orders against the market, from the seed; reports go to `listeners`."""

    agenda: Agenda
    market: Market
    chance: Chance
    deposit: Decimal
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    fills: list[VenueFill] = field(default_factory=list)
    balances: dict[str, Decimal] = field(default_factory=dict)
    listeners: list[Listener] = field(default_factory=list)
    is_calm: bool = False

    def __post_init__(self) -> None:
        self.balances = {"USD": self.deposit}

    def place(
        self,
        symbol: str,
        type_: str,
        side: str,
        amount: Decimal,
        *,
        price: Decimal | None = None,
        stop_price: Decimal | None = None,
        client_order_id: str | None = None,
    ) -> VenueOrder:
        """Take a new order. Raises InvalidOrder, DuplicateOrderId and InsufficientFunds."""
        listing = self.market.listing(symbol)
        if amount <= 0 or amount % listing.quantity_step:
            raise InvalidOrder(f"amount {amount}")
        if type_ == "limit" and (price is None or price % listing.price_step):
            raise InvalidOrder(f"price {price}")
        if client_order_id is not None and self.by_client_order_id(client_order_id) is not None:
            raise DuplicateOrderId(client_order_id)
        if amount * self.market.price(symbol) > self.balances["USD"] + CREDIT:
            raise InsufficientFunds(symbol)
        order = VenueOrder(
            number=len(self.orders) + 1,
            client_order_id=client_order_id,
            symbol=symbol,
            type=type_,
            side=side,
            amount=amount,
            price=price,
            stop_price=stop_price,
            created_at=self.agenda.now,
            updated_at=self.agenda.now,
        )
        self.orders[order.id] = order
        self._tell(order)
        if type_ == "market":
            self._fill_by_chance(order)
        return order

    def cancel(self, order_id: str) -> VenueOrder:
        """Cancel an order, or not. Raises OrderNotFound where it is at its end, InvalidOrder to refuse."""
        order = self.orders.get(order_id)
        if order is None or order.status != "open":
            raise OrderNotFound(order_id)
        fate = CancelFate.CANCELED if self.is_calm else self._cancel_fate(order)
        if fate is CancelFate.REFUSED:
            raise InvalidOrder(f"{order_id} cannot be canceled now")
        if fate is CancelFate.FILLED:
            self._fill(order, order.remaining)
            raise OrderNotFound(order_id)
        if fate is CancelFate.FILLED_IN_PART:
            self._fill(order, self._part_of(order))
        if fate is CancelFate.LATER:
            order.is_being_canceled = True
        elif order.status == "open":
            self._end(order, "canceled")
        return order

    def tick(self) -> None:
        """The market has moved: stops are triggered, orders fill, cancels take effect."""
        for order in self.open_orders():
            if self._is_reached(order):
                self._fill_by_chance(order)
            if order.is_being_canceled and order.status == "open":
                self._end(order, "canceled")

    def open_orders(self) -> list[VenueOrder]:
        return [order for order in self.orders.values() if order.status == "open"]

    def by_client_order_id(self, client_order_id: str) -> VenueOrder | None:
        return next((o for o in self.orders.values() if o.client_order_id == client_order_id), None)

    def visible_fills(self) -> list[VenueFill]:
        """Fills its list has by now."""
        return [fill for fill in self.fills if self.is_calm or fill.visible_at <= self.agenda.now]

    def _cancel_fate(self, order: VenueOrder) -> CancelFate:
        return weighted(
            self.chance.of("cancel", order.number),
            [
                (CancelFate.CANCELED, 50),
                (CancelFate.LATER, 15),
                (CancelFate.FILLED_IN_PART, 15),
                (CancelFate.FILLED, 10),
                (CancelFate.REFUSED, 10),
            ],
        )

    def _is_reached(self, order: VenueOrder) -> bool:
        price, is_buy = self.market.price(order.symbol), order.side == "buy"
        if order.type == "stop" and not order.is_triggered:
            assert order.stop_price is not None
            order.is_triggered = price >= order.stop_price if is_buy else price <= order.stop_price
            return order.is_triggered
        if order.type == "limit":
            assert order.price is not None
            return price <= order.price if is_buy else price >= order.price
        return True

    def _fill_by_chance(self, order: VenueOrder) -> None:
        """Fill it in one to three parts, or only some of it, or not yet; rarely refuse it after all."""
        generator = self.chance.of("fill", order.number)
        if order.type == "market" and not order.filled and generator.random() < 0.03:
            self._end(order, "rejected")
            return
        for _ in range(weighted(generator, [(0, 15), (1, 60), (2, 15), (3, 10)])):
            is_last = generator.random() < 0.6
            if order.status == "open":
                self._fill(order, order.remaining if is_last else self._part_of(order))

    def _part_of(self, order: VenueOrder) -> Decimal:
        step = self.market.listing(order.symbol).quantity_step
        return step * self.chance.of("part", order.number).randint(1, int(order.remaining / step))

    def _fill(self, order: VenueOrder, amount: Decimal) -> None:
        listing = self.market.listing(order.symbol)
        is_maker, is_buy = order.type == "limit", order.side == "buy"
        price = order.price if is_maker and order.price is not None else self.market.price(order.symbol)
        rate = MAKER_RATE if is_maker else TAKER_RATE
        fee_in_base = listing.fee_in_base and is_buy
        taxed = amount if fee_in_base else amount * price
        late = self.chance.of("visible", order.number).choice([0, 0, 0, 0, 0, 90, 240])
        fill = VenueFill(
            number=len(self.fills) + 1,
            order=order,
            price=price,
            amount=amount,
            fee=(taxed * rate).quantize(SMALLEST_FEE, ROUND_HALF_UP),
            fee_currency=listing.base if fee_in_base else listing.quote,
            is_maker=is_maker,
            at=self.agenda.now,
            visible_at=self.agenda.now + timedelta(seconds=late),
        )
        self.fills.append(fill)
        order.filled += amount
        order.cost += amount * price
        order.updated_at = self.agenda.now
        self._book(listing.base, amount if is_buy else -amount)
        self._book(listing.quote, -amount * price if is_buy else amount * price)
        self._book(fill.fee_currency, -fill.fee)
        if not order.remaining:
            order.status = "closed"
        self._tell(order, fill)

    def _book(self, currency: str, amount: Decimal) -> None:
        self.balances[currency] = self.balances.get(currency, Decimal(0)) + amount

    def _end(self, order: VenueOrder, status: str) -> None:
        order.status, order.updated_at = status, self.agenda.now
        self._tell(order)

    def _tell(self, order: VenueOrder, fill: VenueFill | None = None) -> None:
        for listener in self.listeners:
            listener(order, fill)
