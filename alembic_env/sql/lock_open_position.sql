-- The open position a fill belongs to, locked; made flat where there is none.
CREATE FUNCTION lock_open_position(f fills, strategy varchar) RETURNS positions
LANGUAGE plpgsql AS $$
DECLARE
    p positions;
BEGIN
    LOOP
        SELECT * INTO p FROM positions
        WHERE account_id = f.account_id AND exchange = f.exchange AND trading_pair = f.trading_pair
            AND strategy_id IS NOT DISTINCT FROM strategy AND quote_currency = f.quote_currency
            AND closed_at IS NULL
        FOR NO KEY UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO positions (
            id, account_id, strategy_id, exchange, trading_pair, quote_currency, side, opened_at
        )
        VALUES (
            new_id(), f.account_id, strategy, f.exchange, f.trading_pair, f.quote_currency,
            CASE WHEN f.net_quantity < 0 THEN 'SHORT' ELSE 'LONG' END, f.filled_at
        )
        ON CONFLICT DO NOTHING
        RETURNING * INTO p;
        EXIT WHEN FOUND;
    END LOOP;
    RETURN p;
END
$$
