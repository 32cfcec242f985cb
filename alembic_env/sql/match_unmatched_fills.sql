-- Fills that were kept for an order are applied in the transaction that stores it or learns its id, at its end.
CREATE FUNCTION match_unmatched_fills() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    kept unmatched_fills;
    outcome record;
BEGIN
    IF TG_OP = 'UPDATE' AND (NEW.exchange_order_id, NEW.client_order_id)
        IS NOT DISTINCT FROM (OLD.exchange_order_id, OLD.client_order_id)
    THEN
        RETURN NULL;
    END IF;
    PERFORM lock_order_names(NEW.account_id, NEW.exchange, false);
    FOR kept IN
        SELECT * FROM unmatched_fills
        WHERE account_id = NEW.account_id AND exchange = NEW.exchange
            AND (order_id = NEW.id OR exchange_order_id = NEW.exchange_order_id
                OR client_order_id = NEW.client_order_id)
        ORDER BY payload ->> 'filled_at' COLLATE "C", id
    LOOP
        BEGIN
            SELECT * INTO outcome FROM apply_fills(jsonb_build_array(kept.payload), NULL, NULL);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            -- An order is stored whatever somebody has said of it.
            SELECT 'REJECTED' AS result, SQLERRM AS reason INTO outcome;
        END;
        IF outcome.result IN ('APPLIED', 'DUPLICATE') THEN
            DELETE FROM unmatched_fills WHERE id = kept.id;
        ELSE
            UPDATE unmatched_fills SET problem = outcome.reason WHERE id = kept.id;
        END IF;
    END LOOP;
    RETURN NULL;
END
$$
