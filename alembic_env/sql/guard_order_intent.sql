-- A new order of ours, and the wish to cancel one. What the exchange reports is a fact, and passes. In a halt an
-- order may protect or reduce what there is.
CREATE FUNCTION guard_order_intent() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.origin = 'ENGINE' THEN
            PERFORM require_lease(NEW.account_id);
            IF NOT NEW.reduce_only AND NEW.parent_order_id IS NULL THEN
                PERFORM require_no_halt(NEW.account_id, NEW.strategy_id);
            END IF;
        END IF;
    ELSIF NEW.status = 'PENDING_CANCEL' AND OLD.status <> 'PENDING_CANCEL'
        AND NEW.reported_status IS NOT DISTINCT FROM OLD.reported_status
    THEN
        PERFORM require_lease(NEW.account_id);
    END IF;
    RETURN NEW;
END
$$
