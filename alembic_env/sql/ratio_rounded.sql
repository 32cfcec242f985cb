-- part / whole, half up to 8 decimals.
CREATE FUNCTION ratio_rounded(part numeric, whole numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE AS $$
    SELECT sign(part) * sign(whole) * div(2e8 * abs(part) + abs(whole), 2 * abs(whole)) * 1e-8
$$
