-- Takes a report of an execution: its effect on order, position, trade and equity happens once, however often
-- and in whatever spelling it is reported.
CREATE FUNCTION apply_fill(
    report jsonb,
    OUT result text, OUT fill uuid, OUT order_id uuid, OUT position_id uuid, OUT trade_id uuid,
    OUT applied_seq bigint, OUT realized_pnl numeric, OUT order_status text, OUT reason text
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    f fills := fill_of_report(report);
    o orders;
    known fills;
    found_order uuid;
BEGIN
    result := 'REJECTED';
    reason := fill_problem(f, report);
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;

    found_order := order_of_fill(f);
    IF found_order IS NULL THEN
        PERFORM lock_order_names(f.account_id, f.exchange, true);
        found_order := order_of_fill(f);  -- it may have come while we waited
    END IF;
    IF found_order IS NULL THEN
        INSERT INTO unmatched_fills (
            id, account_id, exchange, trading_pair, order_id, exchange_order_id, client_order_id, fill_id,
            payload, received_at, source
        )
        VALUES (
            f.id, f.account_id, f.exchange, f.trading_pair, f.order_id, f.exchange_order_id, f.client_order_id,
            f.fill_id, report || jsonb_build_object('received_at', f.received_at), f.received_at, f.source
        )
        ON CONFLICT DO NOTHING;
        result := 'UNMATCHED';
        RETURN;
    END IF;

    SELECT * INTO o FROM orders WHERE id = found_order FOR NO KEY UPDATE;
    f.order_id := o.id;
    f.exchange := o.exchange;
    f.trading_pair := o.trading_pair;
    order_id := o.id;
    order_status := o.status;
    known := fill_known_as(f, o.id);
    IF known.id IS NOT NULL THEN
        result := 'DUPLICATE';
        fill := known.id;
        position_id := known.position_id;
        trade_id := known.trade_id;
        applied_seq := known.applied_seq;
        realized_pnl := known.realized_pnl;
        reason := 'the stored fill differs in ' || nullif(concat_ws(', ',
            CASE WHEN known.side <> f.side THEN 'side' END,
            CASE WHEN known.quantity_filled <> f.quantity_filled THEN 'quantity_filled' END,
            CASE WHEN known.fill_price <> f.fill_price THEN 'fill_price' END,
            CASE WHEN known.commission <> f.commission AND report ? 'commission' THEN 'commission' END
        ), '');
        RETURN;
    END IF;

    IF o.exchange_order_id IS NULL AND f.exchange_order_id IS NOT NULL THEN
        PERFORM lock_order_names(o.account_id, o.exchange, false);
    END IF;
    f := with_terms(f);
    reason := CASE
        WHEN f.side <> o.side THEN 'its side is not its order''s'
        WHEN f.quote_currency IS NULL THEN 'its quote currency is not known: name it, or store the instrument'
        WHEN f.exchange_order_id <> o.exchange_order_id AND EXISTS (
            SELECT FROM orders AS other
            WHERE other.account_id = o.account_id AND other.exchange = o.exchange
                AND other.trading_pair = o.trading_pair AND other.exchange_order_id = f.exchange_order_id
        ) THEN 'another order has its exchange_order_id'
    END;
    IF reason IS NULL AND o.exchange_order_id IS NULL AND f.exchange_order_id IS NOT NULL THEN
        BEGIN
            UPDATE orders SET exchange_order_id = f.exchange_order_id WHERE id = o.id;
        EXCEPTION WHEN unique_violation THEN
            reason := 'another order has its exchange_order_id';
        END;
    END IF;
    IF reason IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM set_config('gal_friday.source', f.source, true),
        set_config('gal_friday.occurred_at', f.filled_at::text, true),
        set_config('gal_friday.reason', 'fill ' || f.fill_id, true);
    f := book_on_position(f, o);
    o := advance_order(f, o);
    f.exchange_order_id := coalesce(o.exchange_order_id, o.id::text);
    f.applied_at := clock_timestamp();
    INSERT INTO fills SELECT f.*;

    -- A fee whose rate is not known is taken from what the account has of its currency.
    PERFORM book_equity(f.account_id, currency, sum(amount), 0) FROM (VALUES
        (f.quote_currency, coalesce(f.realized_pnl, 0) - coalesce(f.commission_quote, 0)),
        (f.commission_asset, CASE WHEN f.commission_quote IS NULL THEN -f.commission ELSE 0 END)
    ) AS movement (currency, amount)
    WHERE amount <> 0 GROUP BY currency ORDER BY currency;

    INSERT INTO event_log (account_id, stream, stream_version, event_type, payload, occurred_at)
    VALUES (
        f.account_id, 'position-' || f.position_id, f.applied_seq, 'FillApplied', jsonb_build_object(
            'fill', f.id, 'order', o.id, 'trade', f.trade_id, 'side', f.side, 'order_status', o.status,
            'quantity', trim_scale(f.quantity_filled)::text, 'price', trim_scale(f.fill_price)::text,
            'realized_pnl', trim_scale(f.realized_pnl)::text
        ), f.filled_at
    );

    result := 'APPLIED';
    fill := f.id;
    position_id := f.position_id;
    trade_id := f.trade_id;
    applied_seq := f.applied_seq;
    realized_pnl := f.realized_pnl;
    order_status := o.status;
END
$$
