"""Where a run begins, or goes on."""

from gal_friday.dal.models import Instrument, RiskLimit, RiskScope, Strategy
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.errors import AlreadyExists, NotFound
from gal_friday.replay.progress import STATE_KEY, Progress
from gal_friday.replay.run import Run

VERSION = "1"


async def begin(uow: UnitOfWork, run: Run) -> Progress:
    """Where *run* stands; account, strategy and limits are made when it is new. Raises AlreadyExists."""
    strategy = await uow.strategies.get(run.name)
    if strategy is None:
        await uow.accounts.open_account(
            run.name,
            exchange=run.exchange,
            reporting_currency=run.quote,
            initial_capital=run.rules.initial_capital,
            opened_at=run.candles[0].timestamp,
        )
        # Of two processes that begin the same run the second waits here, and finds it begun.
        await uow.portfolio_states.get_for_update(run.quote, account_id=run.name)
        strategy = await uow.strategies.get(run.name)
    if strategy is not None:
        _check_same(strategy, run)
        return await stored_progress(uow, run)
    await uow.strategies.add(
        Strategy(
            strategy_id=run.name,
            name=run.name,
            version=VERSION,
            description=f"Crossing averages of {run.rules.fast} and {run.rules.slow} recorded closes",
            config=run.config(),
            timeframe=run.timeframe,
            trading_pairs=[run.trading_pair],
            is_active=True,
        )
    )
    await uow.instruments.upsert_many(
        [
            Instrument(
                exchange=run.exchange,
                trading_pair=run.trading_pair,
                base_currency=run.base,
                quote_currency=run.quote,
            )
        ],
        update=(),
    )
    await uow.risk_limits.add(
        RiskLimit(
            account_id=run.name,
            scope=RiskScope.ACCOUNT,
            key=run.name,
            max_notional=run.rules.max_notional,
            max_daily_loss=run.rules.max_daily_loss,
        )
    )
    progress = Progress()
    await uow.strategy_states.set_value(run.name, STATE_KEY, progress.as_json(), account_id=run.name)
    return progress


async def stored_progress(uow: UnitOfWork, run: Run) -> Progress:
    """Where *run* stands. Raises NotFound for a run that was never begun."""
    stored = await uow.strategy_states.get_value(run.name, STATE_KEY, account_id=run.name)
    if stored is None:
        raise NotFound("this run was never begun", run=run.name)
    return Progress.from_json(stored)


def _check_same(strategy: Strategy, run: Run) -> None:
    given = run.config()
    differing = {
        name: (strategy.config.get(name), given.get(name))
        for name in {**given, **strategy.config}
        if strategy.config.get(name) != given.get(name)
    }
    if differing:
        raise AlreadyExists(
            "a run of this name was begun with something else; give this one another --run",
            run=run.name,
            differing=differing,
        )
