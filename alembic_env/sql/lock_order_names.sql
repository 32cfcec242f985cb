-- Whoever keeps a fill because it knows no order of that name must not miss one being stored meanwhile: those
-- who keep have an account at an exchange to themselves, those who store or learn names share it.
CREATE FUNCTION lock_order_names(account varchar, on_exchange varchar, keeps boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    key bigint := hashtextextended(json_build_array('gal_friday.order_names', account, on_exchange)::text, 0);
BEGIN
    IF keeps THEN
        PERFORM pg_advisory_xact_lock(key);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(key);
    END IF;
END
$$
