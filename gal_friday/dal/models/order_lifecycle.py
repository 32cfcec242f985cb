"""Where an order may go from where it stands: the one table of legal transitions."""

from collections.abc import Mapping
from types import MappingProxyType

from gal_friday.dal.models.enums import OrderStatus

ORDER_TRANSITIONS: Mapping[OrderStatus, frozenset[OrderStatus]] = MappingProxyType(
    {
        # A report may overtake the acknowledgement, so everything is possible before it.
        OrderStatus.PENDING_NEW: frozenset(OrderStatus) - {OrderStatus.PENDING_NEW},
        OrderStatus.NEW: frozenset(
            {
                OrderStatus.PARTIALLY_FILLED,
                OrderStatus.FILLED,
                OrderStatus.PENDING_CANCEL,
                OrderStatus.CANCELED,
                OrderStatus.REJECTED,
                OrderStatus.EXPIRED,
            }
        ),
        OrderStatus.PARTIALLY_FILLED: frozenset(
            {OrderStatus.FILLED, OrderStatus.PENDING_CANCEL, OrderStatus.CANCELED, OrderStatus.EXPIRED}
        ),
        # The exchange may refuse the cancel: then the order works on, as it did before.
        OrderStatus.PENDING_CANCEL: frozenset(
            {
                OrderStatus.NEW,
                OrderStatus.PARTIALLY_FILLED,
                OrderStatus.FILLED,
                OrderStatus.CANCELED,
                OrderStatus.REJECTED,
                OrderStatus.EXPIRED,
            }
        ),
        # A fill that crossed with the end of the order is a fact all the same.
        OrderStatus.CANCELED: frozenset({OrderStatus.FILLED}),
        OrderStatus.EXPIRED: frozenset({OrderStatus.FILLED}),
        OrderStatus.FILLED: frozenset(),
        OrderStatus.REJECTED: frozenset(),
    }
)
