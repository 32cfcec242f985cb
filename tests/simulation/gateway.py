"""The way of an ExecutionHandler to an exchange that speaks ccxt."""

from typing import Any

from gal_friday.dal.models import Order, OrderType
from gal_friday.services.order_gateway import Amendment, Answer
from tests.simulation.ccxt_errors import DuplicateOrderId, ExchangeError, OrderNotFound
from tests.simulation.exchange import Exchange
from tests.simulation.translation import answer_of


class Gateway:
    """An OrderGateway. What the network raises it lets through: then it is not known what has happened."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def submit(self, order: Order) -> Answer:
        assert order.quantity is not None
        params: dict[str, Any] = {"clientOrderId": order.client_order_id}
        if order.stop_price is not None:
            params["stopLossPrice"] = order.stop_price
        kind = "limit" if order.order_type is OrderType.LIMIT else "market"
        try:
            shape = await self._exchange.create_order(
                order.trading_pair, kind, order.side.lower(), order.quantity, order.limit_price, params
            )
        except DuplicateOrderId:
            return await self._as_it_stands(order)
        except ExchangeError as error:
            return Answer(accepted=False, reason=repr(error))
        return answer_of(shape)

    async def cancel(self, order: Order) -> Answer:
        try:
            exchange_order_id = order.exchange_order_id
            if exchange_order_id is None:
                exchange_order_id = (await self._as_it_stands(order)).exchange_order_id
            assert exchange_order_id is not None
            shape = await self._exchange.cancel_order(exchange_order_id, order.trading_pair)
        except OrderNotFound as error:
            found = await self._as_it_stands(order)
            return Answer(
                accepted=False,
                reason=repr(error),
                status=found.status,
                filled_quantity=found.filled_quantity,
                exchange_order_id=found.exchange_order_id,
            )
        except ExchangeError as error:
            return Answer(accepted=False, reason=repr(error))
        is_canceled = shape["status"] == "canceled"
        answer = answer_of(shape)
        return answer if is_canceled else Answer(exchange_order_id=answer.exchange_order_id)

    async def amend(self, order: Order, amendment: Amendment) -> Answer:
        raise AssertionError("no strategy here amends")

    async def _as_it_stands(self, order: Order) -> Answer:
        params = {"clientOrderId": order.client_order_id}
        return answer_of(await self._exchange.fetch_order(None, order.trading_pair, params))
