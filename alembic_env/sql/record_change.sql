-- Arguments: key columns, columns not recorded, and, where there is one, the column whose values are withheld,
-- with the column that says when.
CREATE FUNCTION record_change() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    key_columns text[] := string_to_array(TG_ARGV[0], ',');
    old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    known jsonb := coalesce(new_row, old_row);
    old_image jsonb := old_row - string_to_array(TG_ARGV[1], ',');
    new_image jsonb := new_row - string_to_array(TG_ARGV[1], ',');
    row_key text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(key, exact_value(old_image -> key)), jsonb_object_agg(key, exact_value(value))
        INTO old_image, new_image
        FROM jsonb_each(new_image)
        WHERE value <> old_image -> key;
        IF new_image IS NULL THEN
            RETURN NULL;
        END IF;
    ELSIF TG_OP = 'INSERT' THEN
        SELECT jsonb_object_agg(key, exact_value(value)) INTO new_image FROM jsonb_each(new_image);
    ELSE
        SELECT jsonb_object_agg(key, exact_value(value)) INTO old_image FROM jsonb_each(old_image);
    END IF;
    IF TG_NARGS = 3
        OR TG_NARGS = 4 AND 'true' IN (old_row ->> TG_ARGV[3], new_row ->> TG_ARGV[3])
    THEN
        IF old_image ? TG_ARGV[2] THEN
            old_image := old_image || jsonb_build_object(TG_ARGV[2], '(withheld)');
        END IF;
        IF new_image ? TG_ARGV[2] THEN
            new_image := new_image || jsonb_build_object(TG_ARGV[2], '(withheld)');
        END IF;
    END IF;
    IF cardinality(key_columns) = 1 THEN
        row_key := known ->> key_columns[1];
    ELSE
        SELECT jsonb_agg(known -> name ORDER BY place)::text INTO row_key
        FROM unnest(key_columns) WITH ORDINALITY AS key_column (name, place);
    END IF;
    INSERT INTO audit_log (account_id, table_name, row_key, operation, actor, application, before, after)
    VALUES (
        known ->> 'account_id', TG_TABLE_NAME, row_key, TG_OP,
        left(coalesce(nullif(current_setting('gal_friday.actor', true), ''), session_user), 100),
        left(coalesce(
            nullif(current_setting('gal_friday.application', true), ''),
            nullif(current_setting('application_name'), '')
        ), 100),
        old_image, new_image
    );
    RETURN NULL;
END
$$
