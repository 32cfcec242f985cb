"""The stream of updates of one instance: it drops, delays, doubles and reorders, forgets ids, disconnects."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from tests.simulation.agenda import Agenda
from tests.simulation.ccxt_shapes import Shape, order_shape, trade_shape
from tests.simulation.chance import Chance, weighted
from tests.simulation.venue import Venue, VenueFill, VenueOrder

#: Takes one update: its kind, "order" or "trade", and what ccxt would make of it.
Receiver = Callable[[str, Shape], Awaitable[None]]

_DELAYS = [(0, 40), (1, 30), (20, 20), (150, 10)]


@dataclass(slots=True)
class Feed:
    """Updates of orders and trades, each on its own way to *receiver*.

    While nobody is connected nothing is sent, and what was on its way at a disconnection is lost.
    """

    venue: Venue
    agenda: Agenda
    chance: Chance
    name: str
    receiver: Receiver | None = None
    _connection: int = 0

    def __post_init__(self) -> None:
        self.venue.listeners.append(self._told)

    @property
    def is_connected(self) -> bool:
        return self.receiver is not None

    def connect(self, receiver: Receiver) -> None:
        self._connection += 1
        self.receiver = receiver

    def disconnect(self) -> None:
        self._connection += 1
        self.receiver = None

    def _told(self, order: VenueOrder, fill: VenueFill | None) -> None:
        generator = self.chance.of("feed", self.name)
        updates = [("order", order_shape(order))]
        if fill is not None:
            id_ = None if generator.random() < 0.1 else fill.id  # the list of trades will have it
            updates.append(("trade", trade_shape(fill) | {"id": id_}))
        for kind, shape in updates:
            # Drawn whether anybody listens or not: who listens must not move what the others hear.
            copies = weighted(generator, [(1, 80), (0, 10), (2, 10)])
            delays = [weighted(generator, _DELAYS) for _ in range(copies)]
            if self.receiver is not None:
                for delay in delays:
                    deliver = partial(self._deliver, self._connection, kind, shape)
                    self.agenda.after(timedelta(seconds=delay), deliver)

    async def _deliver(self, connection: int, kind: str, shape: Shape) -> None:
        if connection == self._connection and self.receiver is not None:
            await self.receiver(kind, shape)
