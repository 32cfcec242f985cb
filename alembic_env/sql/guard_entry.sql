-- An entry of the engine's, its stop and its rollover are intended; what became of it is a fact.
CREATE FUNCTION guard_entry() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT'
        OR (NEW.current_stop, NEW.rollover_status) IS DISTINCT FROM (OLD.current_stop, OLD.rollover_status)
    THEN
        PERFORM require_lease(NEW.account_id);
    END IF;
    RETURN NEW;
END
$$
