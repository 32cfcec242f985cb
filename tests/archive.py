"""What upkeep does as the owner, before tests go on as a trader."""

from sqlalchemy import text

from gal_friday.dal.models import ArchivedTrade
from gal_friday.dal.unit_of_work import UnitOfWork


async def archive(owner_uow: UnitOfWork, *trades: ArchivedTrade) -> None:
    """Store *trades* in the archive; from then on the owner's unit of work may do what a trader may."""
    await owner_uow.session.execute(text("SET LOCAL ROLE NONE"))
    await owner_uow.archived_trades.add_many(trades)
    await owner_uow.session.execute(text("SET LOCAL ROLE gal_friday_trader"))
