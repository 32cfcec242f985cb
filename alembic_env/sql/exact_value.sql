-- An amount as text without trailing zeros: whoever reads JSON numbers gets floats. Stable as to_jsonb is:
-- called otherwise it would not be inlined.
CREATE FUNCTION exact_value(value jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN jsonb_typeof(value) = 'number' AND scale(value::numeric) > 0
        THEN to_jsonb(trim_scale(value::numeric)::text) ELSE value END
$$
