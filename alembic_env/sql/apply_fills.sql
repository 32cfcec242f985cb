-- Takes reports of executions one after the other, in the order given. What they have in common with other
-- transactions is locked at the beginning: names, then orders, positions and equity, each in one order.
CREATE FUNCTION apply_fills(reports jsonb, actor text, application text)
RETURNS TABLE (
    result text, fill uuid, order_id uuid, position_id uuid, trade_id uuid, applied_seq bigint,
    realized_pnl numeric, order_status text, reason text
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    source_before text := coalesce(current_setting('gal_friday.source', true), '');
    reason_before text := coalesce(current_setting('gal_friday.reason', true), '');
    time_before text := coalesce(current_setting('gal_friday.occurred_at', true), '');
    involved uuid[];
    held uuid[];
BEGIN
    IF actor IS NOT NULL THEN
        PERFORM set_config('gal_friday.actor', actor, true);
    END IF;
    IF application IS NOT NULL THEN
        PERFORM set_config('gal_friday.application', application, true);
    END IF;
    IF jsonb_array_length(reports) > 1 THEN
        PERFORM lock_order_names(account_id, exchange, keeps)
        FROM (
            SELECT f.account_id, f.exchange, bool_or(o.id IS NULL) AS keeps
            FROM jsonb_populate_recordset(NULL::fills, reports) AS f
                LEFT JOIN orders AS o ON o.id = order_of_fill(f)
            WHERE o.id IS NULL OR o.exchange_order_id IS NULL AND f.exchange_order_id IS NOT NULL
            GROUP BY f.account_id, f.exchange
            ORDER BY f.account_id, f.exchange
        ) AS unknown;
        SELECT array_agg(order_of_fill(f)) INTO involved
        FROM jsonb_populate_recordset(NULL::fills, reports) AS f;
        PERFORM FROM orders WHERE id = ANY (involved) ORDER BY id FOR NO KEY UPDATE;
        SELECT array_agg(DISTINCT open.id) INTO held
        FROM orders, LATERAL (
            SELECT id FROM positions
            WHERE account_id = orders.account_id AND exchange = orders.exchange
                AND trading_pair = orders.trading_pair AND strategy_id IS NOT DISTINCT FROM orders.strategy_id
                AND closed_at IS NULL
            OFFSET 0  -- from the few orders to their positions, whatever the planner takes the tables for
        ) AS open
        WHERE orders.id = ANY (involved);
        PERFORM FROM positions WHERE id = ANY (held) ORDER BY id FOR NO KEY UPDATE;
        PERFORM FROM portfolio_state
        WHERE account_id IN (SELECT orders.account_id FROM orders WHERE id = ANY (involved))
        ORDER BY account_id, currency FOR NO KEY UPDATE;
    END IF;
    RETURN QUERY
        SELECT outcome.*
        FROM jsonb_array_elements(reports) WITH ORDINALITY AS given (report, place),
            LATERAL apply_fill(report) AS outcome
        ORDER BY place;
    PERFORM set_config('gal_friday.source', source_before, true),
        set_config('gal_friday.reason', reason_before, true),
        set_config('gal_friday.occurred_at', time_before, true);
END
$$
