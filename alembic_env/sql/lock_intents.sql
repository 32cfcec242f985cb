-- Held shared by every transaction that intends something in an account, exclusively by who waits for them to end.
-- Row locks would let newcomers past who waits; this queue does not.
CREATE FUNCTION lock_intents(account text, exclusively boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    key bigint := hashtextextended(json_build_array('gal_friday.intents', account)::text, 0);
BEGIN
    IF exclusively THEN
        PERFORM pg_advisory_xact_lock(key);
    ELSE
        PERFORM pg_advisory_xact_lock_shared(key);
    END IF;
END
$$
