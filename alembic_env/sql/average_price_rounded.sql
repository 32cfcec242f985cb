-- cost / quantity, half up to 18 decimals. div() is exact; the operator / rounds on its way already.
CREATE FUNCTION average_price_rounded(cost numeric, quantity numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT sign(cost) * sign(quantity) * div(2e18 * abs(cost) + abs(quantity), 2 * abs(quantity)) * 1e-18
$$
