-- Where an order stands once this much of it is filled, given where it stood and what the exchange last said.
-- A status the exchange reports is reached when the fills it speaks of are there.
CREATE FUNCTION order_status_after(
    status varchar, reported_status varchar, quantity numeric, filled numeric, reported_filled numeric
) RETURNS varchar
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN status IN ('FILLED', 'REJECTED') THEN status
        WHEN filled >= quantity THEN 'FILLED'
        WHEN reported_status = 'FILLED' AND filled > 0 AND filled >= coalesce(reported_filled, quantity, 0)
            THEN 'FILLED'
        WHEN status IN ('CANCELED', 'EXPIRED') THEN status
        WHEN reported_status IN ('CANCELED', 'EXPIRED') AND filled >= coalesce(reported_filled, 0)
            THEN reported_status
        WHEN reported_status = 'REJECTED' AND filled = 0 THEN 'REJECTED'
        WHEN status = 'PENDING_CANCEL' OR filled = 0 THEN status
        ELSE 'PARTIALLY_FILLED'
    END
$$
