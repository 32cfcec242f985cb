"""LiveTradingEngine: what a strategy wants, stored in one transaction, only then asked of the exchange."""

from decimal import Decimal

from gal_friday.dal.models import Order, PortfolioPosition, RiskVerdict, Signal, SignalLog
from gal_friday.errors import TradingHalted
from gal_friday.services.live.entries import Entering, enter
from gal_friday.services.live.exits import leave
from gal_friday.services.live.led_engine import LedEngine
from gal_friday.services.live.rollover import RolloverState, begin_rollover
from gal_friday.services.live.stops import move_stop
from gal_friday.services.live.terms import Contract, EntryTerms, Intended


class LiveTradingEngine(LedEngine):
    """Trades one account of one mode at one exchange, as the only process that does.

    Each operation stores what it intends in one transaction (the claim of its signal, decision, entry,
    pyramid, figures and order), then asks the exchange, then stores its answer. A signal that comes again
    changes nothing. What is intended is written by these operations; what is held, at which price, and
    whether an entry is closed, only follows from fills: hand them to `fill`. docs/live-engine.md tells which
    column is which.

    `start` takes the lease and recovers, `stop` drains and gives it up; `async with` does both.
    """

    async def base_entry(self, received: SignalLog, signal: Signal, terms: EntryTerms) -> Intended:
        """Open the base position of an instrument.

        *received* is the signal as it arrived, which makes it known again, and names the instrument; *signal*
        is what it proposes. Refused, on record, where a base is open there, and as `RiskManager.decide` says.
        Raises TradingHalted once the refusal is stored, OrderInDoubt where the exchange did not answer,
        NotTrading, LeaseLost, and what the database refuses it for; then nothing is stored.
        """
        return await self._enter(received, signal, terms, is_base=True)

    async def pyramid(self, received: SignalLog, signal: Signal, terms: EntryTerms) -> Intended:
        """Enter on top of the base position of an instrument; refused where none is filled.

        As `base_entry`.
        """
        return await self._enter(received, signal, terms, is_base=False)

    async def exit(
        self,
        received: SignalLog,
        *,
        reason: str,
        position_id: str | None = None,
        limit_price: Decimal | None = None,
    ) -> Intended:
        """Leave an instrument, or one entry in it, at the market or at *limit_price*; also in a halt.

        What still works of the entries and of their stops is canceled first, then each exit is sent. The
        entries close with *reason* when their fills say so. Raises as `base_entry` does, and NotFound.
        """
        async with self._intending(adds_risk=False) as lease:
            outcome = await self._conduct.stored(
                lambda t: leave(
                    t,
                    received,
                    exchange=self._gateway.exchange,
                    reason=reason,
                    position_id=position_id,
                    limit_price=limit_price,
                    taken_by=lease.instance_id,
                )
            )
            return await self._conduct.carry_out_exit(outcome) if outcome.is_new else outcome

    async def update_stop(
        self,
        position_id: str,
        stop: Decimal,
        *,
        loosened_by: str | None = None,
        highest_close: Decimal | None = None,
    ) -> tuple[PortfolioPosition, Order | None]:
        """Move the stop of an entry, and its stop order at the exchange; also in a halt.

        Gives the entry and the stop order that was placed or changed. A stop moves towards the price only:
        StopLoosened, unless *loosened_by* names who means it, on record. Raises NotFound, IllegalTransition
        for a closed entry, and as `base_entry` does.
        """
        async with self._intending(adds_risk=False):
            position = await self._conduct.stored(
                lambda t: move_stop(
                    t,
                    self._gateway.exchange,
                    position_id,
                    stop,
                    may_loosen=loosened_by is not None,
                    highest_close=highest_close,
                ),
                actor=loosened_by,
            )
            self._memory.keep([position])
            return position, await self._conduct.bring_up_to_date(position_id)

    async def rollover(self, position_id: str, contract: Contract) -> RolloverState:
        """Move an entry to another contract: leave the one, then enter the other with as many contracts.

        Where it stands is stored at each step and gone on with by the fills, or at the next start. Called
        again, it goes on. Raises NotFound, IllegalTransition where nothing is held or an exit is working, and
        as `base_entry` does.
        """
        async with self._intending():
            state = await self._conduct.stored(
                lambda t: begin_rollover(t, self._gateway.exchange, position_id, contract)
            )
            return await self._conduct.roll(state)

    async def _enter(
        self, received: SignalLog, signal: Signal, terms: EntryTerms, *, is_base: bool
    ) -> Intended:
        async with self._intending() as lease:
            asked = Entering(received, signal, terms, is_base, self._gateway.exchange, lease.instance_id)
            outcome = await self._conduct.stored(lambda t: enter(t, asked, self.risk))
            self._memory.keep(outcome.positions, [outcome.pyramid])
            if not outcome.is_new:
                return outcome
            if outcome.decision is not None and outcome.decision.decision is RiskVerdict.HALTED:
                raise TradingHalted(str(outcome.refusal), account_id=self.account_id)
            return await self._conduct.carry_out_entry(outcome)
