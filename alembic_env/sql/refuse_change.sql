CREATE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a row of this table is its own record' USING
        ERRCODE = 'TR002', TABLE = TG_TABLE_NAME, DETAIL = json_build_object('operation', TG_OP);
END
$$
