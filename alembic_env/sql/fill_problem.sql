-- What is wrong with a report of an execution by itself; NULL where nothing is.
CREATE FUNCTION fill_problem(f fills, report jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN num_nulls(f.account_id, f.exchange, f.trading_pair, f.side, f.quantity_filled, f.fill_price,
            f.filled_at) > 0
            THEN 'account_id, exchange, trading_pair, side, quantity_filled, fill_price and filled_at are needed'
        WHEN num_nonnulls(f.order_id, f.exchange_order_id, f.client_order_id) = 0 THEN 'it names no order'
        WHEN 'NaN' IN (f.quantity_filled, f.fill_price, f.commission, f.commission_quote)
            THEN 'an amount is not a number'
        WHEN f.quantity_filled <= 0 THEN 'quantity_filled is not positive'
        WHEN (report ->> 'quantity_filled')::numeric <> f.quantity_filled
            OR (report ->> 'fill_price')::numeric <> f.fill_price
            OR (report ->> 'commission')::numeric <> f.commission
            THEN 'an amount has more than 18 decimals'
    END
$$
