-- The order a fill is of, by our ids where it names them: some exchanges number the orders of each pair on their
-- own. How its pair is spelled decides only between several.
CREATE FUNCTION order_of_fill(f fills) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
DECLARE
    found uuid;
BEGIN
    IF f.order_id IS NOT NULL THEN
        SELECT id INTO found FROM orders WHERE id = f.order_id AND account_id = f.account_id;
    END IF;
    IF found IS NULL AND f.client_order_id IS NOT NULL THEN
        SELECT id INTO found FROM orders
        WHERE account_id = f.account_id AND exchange = f.exchange AND client_order_id = f.client_order_id;
    END IF;
    IF found IS NULL AND f.exchange_order_id IS NOT NULL THEN
        SELECT id INTO found FROM orders AS candidate
        WHERE account_id = f.account_id AND exchange = f.exchange AND exchange_order_id = f.exchange_order_id
            AND (trading_pair = f.trading_pair OR NOT EXISTS (
                SELECT FROM orders AS namesake
                WHERE namesake.account_id = f.account_id AND namesake.exchange = f.exchange
                    AND namesake.exchange_order_id = f.exchange_order_id AND namesake.id <> candidate.id
            ));
    END IF;
    RETURN found;
END
$$
