-- A new order of ours, the wish to cancel one, and giving one up that nobody has heard of. What the exchange
-- reports is a fact, and passes.
CREATE FUNCTION guard_order_intent() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        IF NEW.origin = 'ENGINE' THEN
            PERFORM require_lease(NEW.account_id);
            PERFORM require_risk_allowed(NEW);
        END IF;
    ELSIF NEW.reported_status IS NOT DISTINCT FROM OLD.reported_status AND NEW.status <> OLD.status AND (
        NEW.status = 'PENDING_CANCEL'
        OR OLD.status = 'PENDING_NEW' AND NEW.status IN ('CANCELED', 'REJECTED', 'EXPIRED')
            AND coalesce(nullif(current_setting('gal_friday.source', true), ''), 'MANUAL') IN ('ENGINE', 'MANUAL')
    )
    THEN
        PERFORM require_lease(NEW.account_id);
    END IF;
    RETURN NEW;
END
$$
