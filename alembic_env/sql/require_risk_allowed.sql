-- In a halt an order may reduce what there is, or protect another by being of its other side.
CREATE FUNCTION require_risk_allowed(o orders) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF o.reduce_only OR EXISTS (SELECT FROM orders WHERE id = o.parent_order_id AND side <> o.side) THEN
        RETURN;
    END IF;
    PERFORM require_no_halt(o.account_id, o.strategy_id);
END
$$
