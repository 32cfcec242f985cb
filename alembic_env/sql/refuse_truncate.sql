CREATE FUNCTION refuse_truncate() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'TRUNCATE would leave nothing on record' USING
        ERRCODE = 'TR003', TABLE = TG_TABLE_NAME, DETAIL = json_build_object('operation', TG_OP);
END
$$
