-- Its arguments are the legal steps, as NEW>FILLED. What can no longer be canceled is at its end.
CREATE FUNCTION guard_order() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.status = OLD.status THEN
        IF (NEW.quantity, NEW.quote_quantity, NEW.limit_price, NEW.stop_price)
            IS DISTINCT FROM (OLD.quantity, OLD.quote_quantity, OLD.limit_price, OLD.stop_price)
            AND OLD.status || '>CANCELED' <> ALL (TG_ARGV)
        THEN
            RAISE EXCEPTION 'an order at its end is not amended' USING
                ERRCODE = 'TR001', TABLE = TG_TABLE_NAME,
                DETAIL = json_build_object('order', OLD.id, 'source', OLD.status, 'target', NEW.status);
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.status || '>' || NEW.status <> ALL (TG_ARGV) THEN
        RAISE EXCEPTION 'no such step' USING
            ERRCODE = 'TR001', TABLE = TG_TABLE_NAME,
            DETAIL = json_build_object('order', OLD.id, 'source', OLD.status, 'target', NEW.status);
    END IF;
    IF NEW.status_at = OLD.status_at THEN
        NEW.status_at := coalesce(
            nullif(current_setting('gal_friday.occurred_at', true), '')::timestamptz, clock_timestamp()
        );
    END IF;
    RETURN NEW;
END
$$
