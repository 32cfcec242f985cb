-- What a fill takes out of the open trade of its position, with the gain it made. Gives back the trade.
CREATE FUNCTION exit_trade(f fills, o orders, units numeric, gain numeric, fee numeric, ends boolean)
RETURNS uuid
LANGUAGE plpgsql AS $$
DECLARE
    trade uuid;
BEGIN
    UPDATE trades SET
        filled_quantity = filled_quantity + units,
        exit_value = exit_value + units * f.fill_price,
        average_exit_price = average_price_rounded(
            exit_value + units * f.fill_price, filled_quantity + units
        ),
        total_commission = total_commission + fee,
        realized_pnl = coalesce(realized_pnl, 0) + gain - fee,
        -- In percent only where that is a number the column holds.
        realized_pnl_pct = CASE
            WHEN ends AND 1e9 * entry_value * f.contract_multiplier > abs(coalesce(realized_pnl, 0) + gain - fee)
            THEN ratio_rounded(
                (coalesce(realized_pnl, 0) + gain - fee) * 100, entry_value * f.contract_multiplier
            )
        END,
        exit_order_id = o.id,
        exit_timestamp = greatest(exit_timestamp, f.filled_at),
        exit_reason = CASE WHEN ends THEN left(coalesce(o.metadata ->> 'exit_reason', o.order_type), 64) END,
        exit_tag = coalesce(left(o.metadata ->> 'exit_tag', 100), exit_tag),
        status = CASE WHEN ends THEN 'CLOSED' ELSE 'PARTIALLY_FILLED' END
    WHERE position_id = f.position_id AND status IN ('OPEN', 'PARTIALLY_FILLED')
    RETURNING id INTO trade;
    RETURN trade;
END
$$
