-- Amounts as text without trailing zeros: whoever reads JSON numbers gets floats.
CREATE FUNCTION exact_image(image jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(key, CASE jsonb_typeof(value)
        WHEN 'number' THEN
            CASE WHEN scale(value::numeric) > 0 THEN to_jsonb(trim_scale(value::numeric)::text) ELSE value END
        ELSE value
    END)
    FROM jsonb_each(image)
$$
