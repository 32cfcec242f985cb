-- What a fill adds to the open trade of its position, or begins a trade with. Gives back the trade.
CREATE FUNCTION enter_trade(f fills, o orders, units numeric, fee numeric, anew boolean) RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    trade uuid;
BEGIN
    IF NOT anew THEN
        UPDATE trades SET
            quantity = quantity + units,
            entry_value = entry_value + units * f.fill_price,
            average_entry_price = average_price_rounded(entry_value + units * f.fill_price, quantity + units),
            total_commission = total_commission + fee,
            realized_pnl = coalesce(realized_pnl, 0) - fee
        WHERE position_id = f.position_id AND status IN ('OPEN', 'PARTIALLY_FILLED')
        RETURNING id INTO trade;
        IF FOUND THEN
            RETURN trade;
        END IF;
    END IF;
    INSERT INTO trades (
        id, account_id, signal_id, strategy_id, position_id, entry_order_id, exchange, trading_pair,
        quote_currency, side, entry_timestamp, quantity, entry_value, average_entry_price, total_commission,
        realized_pnl, stop_loss_price, take_profit_price, entry_tag, config_hash
    )
    VALUES (
        new_id(), f.account_id, o.signal_id, o.strategy_id, f.position_id, o.id, f.exchange, f.trading_pair,
        f.quote_currency, CASE WHEN f.net_quantity < 0 THEN 'SELL' ELSE 'BUY' END, f.filled_at, units, units * f.fill_price, f.fill_price, fee,
        -fee,
        (SELECT proposed_sl_price FROM signals WHERE id = o.signal_id),
        (SELECT proposed_tp_price FROM signals WHERE id = o.signal_id),
        left(o.metadata ->> 'entry_tag', 100), left(o.metadata ->> 'config_hash', 64)
    )
    RETURNING id INTO trade;
    RETURN trade;
END
$$
