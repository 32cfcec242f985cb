-- Whoever keeps a fill for an order, and whoever stores an order of that id, does so one after the other.
CREATE FUNCTION lock_unmatched(account varchar, on_exchange varchar, order_name varchar) RETURNS void
LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtextextended(
        json_build_array('gal_friday.unmatched', account, on_exchange, order_name)::text, 0
    ))
    WHERE order_name IS NOT NULL
$$
