-- What of a cost goes with part of the whole quantity, half up to 18 decimals; with all of it, all of the cost.
CREATE FUNCTION cost_share_rounded(cost numeric, part numeric, whole numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN part = whole THEN cost ELSE average_price_rounded(cost * part, whole) END
$$
