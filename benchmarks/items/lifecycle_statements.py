"""The statements of W4a by hand; the values are those of `benchmarks.rows`, in their order."""

ADD_SIGNAL = """
    INSERT INTO signals (
        id, account_id, strategy_id, exchange, trading_pair, side, entry_type, confidence, fingerprint
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
ADD_ORDER = """
    INSERT INTO orders (
        id, account_id, client_order_id, strategy_id, exchange, trading_pair, side, order_type, quantity,
        limit_price, signal_id
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
ADD_FILL = """
    INSERT INTO fills (
        id, account_id, order_id, fill_id, exchange_order_id, exchange, trading_pair, side, quantity_filled,
        fill_price, quote_currency, commission, commission_asset, filled_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
"""
FILL_ORDER = """
    UPDATE orders SET status = $3, status_at = $4, filled_at = $5, filled_quantity = $6, cost = $7,
        average_fill_price = $8
    WHERE id = $1 AND row_version = $2 RETURNING id
"""
ADD_POSITION = """
    INSERT INTO positions (
        id, account_id, strategy_id, exchange, trading_pair, quote_currency, side, quantity, cost,
        entry_price, opened_at
    ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
"""
