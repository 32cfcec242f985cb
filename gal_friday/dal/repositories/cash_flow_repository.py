"""Money that moved for another reason than a fill.

A trigger moves closed equity with each movement stored; storing it is all there is to do.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import func, select

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.criteria import given, within
from gal_friday.dal.models.accounts import CashFlow
from gal_friday.dal.models.enums import CashFlowKind
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.portfolio import PortfolioState
from gal_friday.dal.models.types import Cost
from gal_friday.errors import AlreadyExists, InvalidValue
from gal_friday.money import ZERO, canonical

_AMOUNT = Cost()


class CashFlowRepository(BaseRepository[CashFlow]):
    model = CashFlow

    async def add_once(self, cash_flow: CashFlow) -> CashFlow | None:
        """Store a movement that is new; None where it is stored already.

        Its identity is account, kind and `venue_id`. Raises InvalidValue where it has no `venue_id`,
        AlreadyExists where the movement stored under it is of another amount or currency, InvalidReference
        for an unknown account or position.
        """
        if cash_flow.venue_id is None:
            raise InvalidValue(
                "a movement without venue_id cannot be told from its repetition; use add",
                kind=cash_flow.kind,
                account_id=cash_flow.account_id,
            )
        stored = await self._store_once(cash_flow)
        if stored is None:
            await self._refuse_another(cash_flow)
        return stored

    async def transfer(
        self,
        amount: Decimal,
        currency: str,
        *,
        source: str,
        target: str,
        occurred_at: datetime,
        venue_id: str | None = None,
        reason: str | None = None,
    ) -> Sequence[CashFlow]:
        """Move *amount*, which is positive, from account *source* to account *target*; the rows that are new.

        Two movements in this transaction: out of the one, into the other. With *venue_id* each is stored
        once, also where the other one was reported before; without it they are new every time. The equity of
        both is locked in the order of their accounts. Raises InvalidValue, and what `add_once` does.
        """
        amount = _AMOUNT.accept(amount)
        if source == target or amount <= ZERO:
            raise InvalidValue(
                "a transfer moves a positive amount between two accounts",
                source=source,
                target=target,
                amount=amount,
            )
        # In the server's order of names, as whoever locks the equity of several accounts does.
        await self._session.execute(
            select(PortfolioState.currency)
            .where(PortfolioState.account_id.in_((source, target)), PortfolioState.currency == currency)
            .order_by(PortfolioState.account_id)
            .with_for_update(key_share=True)
        )
        common = {
            "kind": CashFlowKind.TRANSFER,
            "currency": currency,
            "venue_id": venue_id,
            "reason": reason,
            "occurred_at": occurred_at,
        }
        moved = sorted([(source, amount.copy_negate()), (target, amount)])
        halves = [CashFlow(account_id=account_id, amount=signed, **common) for account_id, signed in moved]
        if venue_id is None:
            return [await self.add(half) for half in halves]
        return [half for half in [await self.add_once(half) for half in halves] if half is not None]

    async def open_holdings(
        self,
        holdings: Mapping[str, Decimal],
        *,
        occurred_at: datetime,
        account_id: str = DEFAULT_ACCOUNT_ID,
        reason: str | None = None,
    ) -> Sequence[CashFlow]:
        """Book what an account holds when it is first traded with, by currency; the rows that are new.

        A currency is opened once: one that was, by `accounts.open_account` or here, is left as it is,
        whatever is held now. Raises InvalidReference for an unknown account.
        """
        is_opening = (CashFlow.account_id == account_id, CashFlow.kind == CashFlowKind.OPENING)
        opened = set(await self._session.scalars(select(CashFlow.currency).where(*is_opening)))
        openings = [
            CashFlow(
                account_id=account_id,
                currency=currency,
                amount=holdings[currency],
                kind=CashFlowKind.OPENING,
                venue_id=f"opening-{currency}",
                occurred_at=occurred_at,
                reason=reason,
            )
            for currency in sorted(holdings.keys() - opened)
        ]
        return [
            each for each in [await self._store_once(opening) for opening in openings] if each is not None
        ]

    @one_statement
    async def of_position(self, position_id: UUID) -> Sequence[CashFlow]:
        """Funding, adjustments and whatever else concerns a position, oldest first."""
        return await self.find_all(CashFlow.position_id == position_id, order_by=CashFlow.occurred_at)

    @one_statement
    async def get_by_venue_id(
        self, kind: CashFlowKind, venue_id: str, *, account_id: str = DEFAULT_ACCOUNT_ID
    ) -> CashFlow | None:
        """The movement the exchange knows by this id, or None."""
        return await self.find_one_by(
            CashFlow.account_id == account_id, CashFlow.kind == kind, CashFlow.venue_id == venue_id
        )

    @one_statement
    async def between(
        self,
        start: datetime,
        end: datetime,
        *,
        currency: str | None = None,
        account_id: str = DEFAULT_ACCOUNT_ID,
    ) -> Sequence[CashFlow]:
        """Movements from *start* up to, not including, *end*, oldest first."""
        return await self.find_all(
            CashFlow.account_id == account_id,
            *within(CashFlow.occurred_at, start, end),
            *given((CashFlow.currency, currency)),
            order_by=CashFlow.occurred_at,
        )

    async def totals(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> Mapping[str, Decimal]:
        """The sum of all movements of the account, by currency."""
        statement = (
            select(CashFlow.currency, func.sum(CashFlow.amount).label("total"))
            .where(CashFlow.account_id == account_id)
            .group_by(CashFlow.currency)
        )
        return {row.currency: row.total for row in await self._session.execute(statement)}

    async def _store_once(self, cash_flow: CashFlow) -> CashFlow | None:
        key = [CashFlow.account_id, CashFlow.kind, CashFlow.venue_id]
        stored = await self._add_once(cash_flow, key, where=CashFlow.venue_id.is_not(None))
        await self._reload_equity()
        return stored

    async def _written(self) -> None:
        await self._reload_equity()

    async def _reload_equity(self) -> None:
        """What the session has of equity is read anew: the trigger changed it."""
        if self._own_session is None:
            return
        for entity in list(self._session.identity_map.values()):
            if isinstance(entity, PortfolioState):
                await self._session.refresh(entity)

    async def _refuse_another(self, cash_flow: CashFlow) -> None:
        """Raise AlreadyExists where what is stored under the identity of *cash_flow* is another movement."""
        assert cash_flow.venue_id is not None
        account_id = cash_flow.account_id or DEFAULT_ACCOUNT_ID
        known = await self.get_by_venue_id(cash_flow.kind, cash_flow.venue_id, account_id=account_id)
        if known is not None and (known.currency, known.amount) != (cash_flow.currency, cash_flow.amount):
            raise AlreadyExists(
                "another movement is stored under this venue_id",
                account_id=account_id,
                kind=known.kind.value,
                venue_id=known.venue_id,
                stored=f"{canonical(known.amount):f} {known.currency}",
                given=f"{canonical(cash_flow.amount):f} {cash_flow.currency}",
            )
