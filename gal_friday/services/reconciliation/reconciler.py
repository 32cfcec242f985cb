"""Reconciler: the difference to the exchange, found, repaired where facts decide, and reported where not."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from gal_friday.adapters.exchange_api import ExchangeApi
from gal_friday.dal.models import DEFAULT_ACCOUNT_ID
from gal_friday.database import Database
from gal_friday.errors import InvalidValue
from gal_friday.services.reconciliation.books import Horizon, Scope, horizon
from gal_friday.services.reconciliation.comparison import Comparison
from gal_friday.services.reconciliation.found import Found
from gal_friday.services.reconciliation.questions import Questions
from gal_friday.services.reconciliation.reading import ask_for_the_rest, read_exchange, read_ours
from gal_friday.services.reconciliation.rehearsal import Transactions, rehearsal
from gal_friday.services.reconciliation.report import ReconciliationReport


class Reconciler:
    """Compares an account's orders, fills and balances with its exchange's.

    What facts decide is stored with source RECONCILE, once: missing fills, ends of orders, amendments, orders
    we never sent. What they do not decide is reported and left alone. Nothing is concluded from a question
    without an answer. It may run beside a live engine, and as often as one likes.
    """

    def __init__(
        self,
        database: Database,
        exchange_api: ExchangeApi,
        *,
        exchange: str,
        account_id: str = DEFAULT_ACCOUNT_ID,
        trading_pairs: Sequence[str] = (),
        overlap: timedelta = timedelta(days=1),
        grace_seconds: float = 10.0,
        answer_timeout_seconds: float = 30.0,
        window: timedelta | None = None,
        actor: str | None = None,
    ) -> None:
        """*exchange_api* is ccxt's asyncio class of the exchange as it is, or anything shaped like it.

        *exchange* is the name our rows have for it. *overlap* is how far before the last fill known it is
        asked for fills. An order younger than *grace_seconds* may be on its way and is not in doubt. Give
        *trading_pairs* that nothing of ours names yet where the exchange wants pairs one by one, and *window*
        where it answers for a limited span only.
        """
        self._database = database
        self._api = exchange_api
        self._scope = Scope(account_id, exchange)
        self._pairs = trading_pairs
        self._overlap = overlap
        self._grace = timedelta(seconds=grace_seconds)
        self._answer_timeout_seconds = answer_timeout_seconds
        self._window = window
        self._actor = actor

    async def reconcile(
        self, *, since: datetime | None = None, dry_run: bool = False
    ) -> ReconciliationReport:
        """Find the difference, store what the exchange says of it, report the rest.

        Fills are asked for from *since* on (default: `overlap` before the last one known, and never from
        before the account was taken over from the exchange). With *dry_run* everything is done in one
        transaction that is undone: the report says what would be stored.

        A difference is reported when two readings, one after the other, both show it: what was on its way
        during the first has arrived by the second. Raises NotFound for an unknown account, and what the
        database raises; what the exchange raises is in the report's `failures`.
        """
        started_at = datetime.now(UTC)
        if since is not None and since.utcoffset() is None:
            raise InvalidValue("a naive datetime names no point in time", value=since)
        async with self._database.transaction(read_only=True) as uow:
            limits = await horizon(uow, self._scope, since, self._overlap, self._pairs)
        found = await self._pass(limits, dry_run=dry_run)
        if found.differences:
            again = await self._pass(limits, dry_run=dry_run)
            found = found.confirmed_by(again, repaired_before=not dry_run)
        return ReconciliationReport(
            account_id=self._scope.account_id,
            exchange=self._scope.exchange,
            dry_run=dry_run,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            since=limits.fills_since,
            orders=found.orders,
            fills=found.fills,
            balances=found.balances,
            repairs=tuple(found.repairs),
            differences=tuple(found.differences),
            not_understood=tuple(found.problems),
            failures=tuple(found.failures),
        )

    async def _pass(self, limits: Horizon, *, dry_run: bool) -> Found:
        questions = Questions(
            self._api,
            self._scope.exchange,
            timeout_seconds=self._answer_timeout_seconds,
            window=self._window,
        )
        at = datetime.now(UTC)
        theirs = await read_exchange(questions, limits)
        ours = await read_ours(self._database, self._scope, theirs)
        settled_before = ours.now - self._grace
        await ask_for_the_rest(
            questions, theirs, ours, orders_since=limits.orders_since, settled_before=settled_before
        )
        comparison = Comparison(self._scope, theirs, at=at, settled_before=settled_before)
        await comparison.add_older_fills(questions, ours, limits)
        async with AsyncExitStack() as stack:
            store = (
                await stack.enter_async_context(rehearsal(self._database))
                if dry_run
                else Transactions(self._database, self._actor)
            )
            found = await comparison.settle(store)
        return found.with_answers(questions.problems, questions.failures)
