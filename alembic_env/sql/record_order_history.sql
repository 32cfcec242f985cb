-- Source, reason, time and raw report are the transaction's, where it names them. A setting that was made and
-- has ended reads as '', not as NULL.
CREATE FUNCTION record_order_history() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    amended jsonb := '{}';
    moment timestamptz := nullif(current_setting('gal_friday.occurred_at', true), '');
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT coalesce(jsonb_object_agg(name, jsonb_build_object(
            'old', trim_scale(before)::text, 'new', trim_scale(after)::text
        )), '{}') INTO amended
        FROM (VALUES
            ('quantity', OLD.quantity, NEW.quantity),
            ('quote_quantity', OLD.quote_quantity, NEW.quote_quantity),
            ('limit_price', OLD.limit_price, NEW.limit_price),
            ('stop_price', OLD.stop_price, NEW.stop_price)
        ) AS amendable (name, before, after)
        WHERE before IS DISTINCT FROM after;
        IF NEW.status = OLD.status AND NEW.reported_status IS NOT DISTINCT FROM OLD.reported_status
            AND amended = '{}'
        THEN
            RETURN NULL;
        END IF;
        IF NEW.status = OLD.status THEN
            moment := coalesce(moment, clock_timestamp());
        END IF;
    END IF;
    INSERT INTO order_history (
        id, account_id, order_id, from_status, to_status, reported_status, changes, occurred_at, source, reason, raw
    )
    VALUES (
        new_id(), NEW.account_id, NEW.id, OLD.status, NEW.status, NEW.reported_status, amended,
        coalesce(moment, NEW.status_at),
        coalesce(nullif(current_setting('gal_friday.source', true), ''), 'MANUAL'),
        nullif(current_setting('gal_friday.reason', true), ''),
        nullif(current_setting('gal_friday.raw_report', true), '')::jsonb
    );
    RETURN NULL;
END
$$
