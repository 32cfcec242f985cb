"""The statements of a fill applied by hand; parameters are $1, $2, …

Those that read find their rows from the order's id, so that none has to wait for another's answer.
"""

ATTRIBUTE = """
    SELECT set_config('gal_friday.source', 'ENGINE', true), set_config('gal_friday.occurred_at', $1, true),
        set_config('gal_friday.reason', $2, true)
"""
LOCK_ORDER = """
    SELECT id, account_id, exchange, trading_pair, strategy_id, order_type, quantity, filled_quantity, cost,
        commission_quote, exchange_order_id
    FROM orders WHERE id = $1 FOR NO KEY UPDATE
"""
KNOWN_FILL = "SELECT id FROM fills WHERE order_id = $1 AND fill_id = $2"
INSTRUMENT = """
    SELECT contract_multiplier FROM instruments
    JOIN orders ON orders.exchange = instruments.exchange AND orders.trading_pair = instruments.trading_pair
    WHERE orders.id = $1
"""
LOCK_POSITION = """
    SELECT positions.id, positions.side, positions.quantity, positions.cost, entry_price, last_applied_seq
    FROM positions JOIN orders USING (account_id, exchange, trading_pair, strategy_id)
    WHERE orders.id = $1 AND quote_currency = $2 AND closed_at IS NULL FOR NO KEY UPDATE OF positions
"""
LOCK_TRADE = """
    SELECT trades.id, trades.quantity, trades.filled_quantity, entry_value, exit_value, trades.realized_pnl
    FROM orders JOIN positions USING (account_id, exchange, trading_pair, strategy_id)
    JOIN trades ON trades.position_id = positions.id
    WHERE orders.id = $1 AND positions.quote_currency = $2 AND closed_at IS NULL
        AND trades.status IN ('OPEN', 'PARTIALLY_FILLED') FOR NO KEY UPDATE OF trades
"""
ADD_POSITION = """
    INSERT INTO positions (
        id, account_id, strategy_id, exchange, trading_pair, quote_currency, side, quantity, cost,
        entry_price, total_commission, last_applied_seq, opened_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12)
"""
CHANGE_POSITION = """
    UPDATE positions SET quantity = $2, cost = $3, entry_price = $4, realized_pnl = realized_pnl + $5,
        total_commission = total_commission + $6, last_applied_seq = $7, closed_at = $8
    WHERE id = $1
"""
BEGIN_TRADE = """
    INSERT INTO trades (
        id, account_id, strategy_id, position_id, entry_order_id, exchange, trading_pair, quote_currency,
        side, entry_timestamp, quantity, entry_value, average_entry_price, total_commission, realized_pnl
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
"""
ENTER_TRADE = """
    UPDATE trades SET quantity = $2, entry_value = $3, average_entry_price = $4,
        total_commission = total_commission + $5, realized_pnl = $6
    WHERE id = $1
"""
EXIT_TRADE = """
    UPDATE trades SET filled_quantity = $2, exit_value = $3, average_exit_price = $4,
        total_commission = total_commission + $5, realized_pnl = $6, realized_pnl_pct = $7,
        exit_order_id = $8, exit_timestamp = $9, exit_reason = $10, status = $11
    WHERE id = $1
"""
ADVANCE_ORDER = """
    UPDATE orders SET filled_quantity = $2, cost = $3, average_fill_price = $4, commission_by_asset = $5,
        commission_quote = $6, position_id = $7, trade_id = $8, status = CAST($9 AS varchar),
        status_at = CASE WHEN status = CAST($9 AS varchar) THEN status_at ELSE $10 END, filled_at = $11
    WHERE id = $1
"""
ADD_FILL = """
    INSERT INTO fills (
        id, account_id, order_id, position_id, trade_id, fill_id, exchange_order_id, exchange, trading_pair,
        applied_seq, side, quantity_filled, fill_price, quote_currency, commission, commission_asset,
        commission_quote, contract_multiplier, net_quantity, realized_pnl, filled_at, applied_at
    ) VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
        clock_timestamp()
    )
"""
BOOK_EQUITY = """
    INSERT INTO portfolio_state (account_id, currency, initial_capital, closed_equity) VALUES ($1, $2, 0, $3)
    ON CONFLICT (account_id, currency) DO UPDATE SET
        closed_equity = portfolio_state.closed_equity + excluded.closed_equity
"""
ADD_EVENT = """
    INSERT INTO event_log (account_id, stream, stream_version, event_type, payload, occurred_at)
    VALUES ($1, $2, $3, 'FillApplied', $4, $5)
"""
