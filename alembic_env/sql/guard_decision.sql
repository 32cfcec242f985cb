-- In a halt decisions are made and recorded, and refuse.
CREATE FUNCTION guard_decision() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_lease(NEW.account_id);
    IF NEW.decision IN ('APPROVED', 'RESIZED') THEN
        PERFORM require_no_halt(NEW.account_id, (SELECT strategy_id FROM signals WHERE id = NEW.signal_id));
    END IF;
    RETURN NEW;
END
$$
