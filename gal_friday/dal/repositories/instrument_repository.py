"""What can be traded where."""

from collections.abc import Sequence

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.accounts import Instrument


class InstrumentRepository(BaseRepository[Instrument]):
    model = Instrument

    @one_statement
    async def get_active_instruments(self, exchange: str) -> Sequence[Instrument]:
        """What can be traded at *exchange* now, by pair."""
        return await self.find_all(
            Instrument.exchange == exchange, Instrument.active, order_by=Instrument.trading_pair
        )
