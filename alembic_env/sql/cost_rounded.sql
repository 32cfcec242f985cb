-- A product that may have more decimals than an exact cost keeps: half up to 36.
CREATE FUNCTION cost_rounded(product numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT round(product, 36)
$$
