-- Upkeep moves rows from a default partition into one of their own; nobody but the owner may remove any at all.
CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME = current_setting('gal_friday.moved_from', true)
        AND TG_TABLE_NAME LIKE '%\_default' AND current_user = (
            SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID
        )
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'a row of this table is its own record' USING
        ERRCODE = 'TR002', TABLE = TG_TABLE_NAME, DETAIL = json_build_object('operation', TG_OP);
END
$$
