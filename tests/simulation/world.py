"""All that outlives a process of the bot: exchange, database, network, and what is on the agenda."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, text

from gal_friday.config import DatabaseSettings
from gal_friday.dal.connection_pool import DatabaseConnectionPool
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID, Instrument, RiskLimit, RiskScope, Strategy
from gal_friday.database import Database
from tests.simulation.agenda import BEGINNING, Agenda
from tests.simulation.chance import Chance
from tests.simulation.market import Market
from tests.simulation.record import Record
from tests.simulation.strategies import STRATEGIES
from tests.simulation.translation import VENUE
from tests.simulation.venue import Venue

#: What open_account books for an account, and what lies at the exchange.
CAPITAL = Decimal(5_000_000)

_OPERATOR = "operator"

_TERMINATE = text("SELECT pg_terminate_backend(:pid, 10000)")
_EXPIRE = text(
    "UPDATE instance_metadata SET lease_expires_at = clock_timestamp() - interval '1 second'"
    " WHERE metadata ->> 'name' = :name AND lease_expires_at > clock_timestamp()"
)


@dataclass(frozen=True, slots=True)
class World:
    """Whatever is in it is as sure as the seed.

    *database* is reached directly, past every fault; *weather* is how many requests of an instance there are
    from one fault to the next, more or less.
    """

    url: URL
    chance: Chance
    agenda: Agenda
    market: Market
    venue: Venue
    record: Record
    database: Database
    weather: int
    disk: Path

    async def terminate(self, backend: int) -> None:
        """End a server process, and return once it is gone."""
        async with self.database.pool.autocommit() as connection:
            await connection.execute(_TERMINATE, {"pid": backend})

    async def expire_lease_of(self, name: str) -> None:
        """The time of the lease of the process of this name is over."""
        async with self.database.pool.autocommit() as connection:
            await connection.execute(_EXPIRE, {"name": name})

    async def halt(self) -> None:
        """An operator stops the account."""
        async with self.database.transaction(actor=_OPERATOR) as uow:
            await uow.halts.halt(reason="it looks odd", by=_OPERATOR)
        self.record.note(_OPERATOR, "halts")

    async def resume(self) -> None:
        async with self.database.transaction(actor=_OPERATOR) as uow:
            await uow.halts.resume()
        self.record.note(_OPERATOR, "resumes")


@asynccontextmanager
async def a_world(seed: int, url: URL, owner_url: URL) -> AsyncIterator[World]:
    """A market, an exchange and a database for bots, who log in at *url*."""
    chance, agenda = Chance(seed), Agenda()
    market = Market(chance)
    venue = Venue(agenda, market, chance, CAPITAL)
    async with DatabaseConnectionPool(DatabaseSettings(pool_size=2), url=owner_url) as pool:
        database = Database(pool)
        await _furnish(database, market)
        with TemporaryDirectory(prefix="gal_friday_simulation_") as disk:
            yield World(
                url=url,
                chance=chance,
                agenda=agenda,
                market=market,
                venue=venue,
                record=Record(agenda),
                database=database,
                weather=chance.of("weather").choice((40, 100, 250, 600)),
                disk=Path(disk),
            )


async def _furnish(database: Database, market: Market) -> None:
    async with database.transaction(actor=_OPERATOR) as uow:
        account = await uow.accounts.one(DEFAULT_ACCOUNT_ID)
        account.created_at = BEGINNING  # what the exchange did before is not asked for
        for strategy in STRATEGIES:
            await uow.strategies.add(
                Strategy(
                    strategy_id=strategy.name,
                    name=strategy.name,
                    version="1",
                    timeframe="1m",
                    trading_pairs=[strategy.symbol],
                )
            )
        for listing in market.listings:
            await uow.instruments.add(
                Instrument(
                    exchange=VENUE,
                    trading_pair=listing.symbol,
                    base_currency=listing.base,
                    quote_currency=listing.quote,
                    price_step=listing.price_step,
                    quantity_step=listing.quantity_step,
                )
            )
        limits = {"max_notional": Decimal(40_000), "max_open_positions": 5}
        await uow.risk_limits.add(RiskLimit(scope=RiskScope.ACCOUNT, key=DEFAULT_ACCOUNT_ID, **limits))
