-- A UUIDv7 whose bits below the millisecond are time as well: rows a trigger writes one after the other sort so.
CREATE FUNCTION new_id() RETURNS uuid
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    microseconds bigint := floor(extract(epoch FROM clock_timestamp()) * 1000000);
    bytes bytea := uuid_send(gen_random_uuid());
BEGIN
    bytes := overlay(bytes PLACING substring(int8send(microseconds / 1000) FROM 3) FROM 1 FOR 6);
    bytes := overlay(
        bytes PLACING int2send((x'7000'::int + microseconds % 1000 * 4096 / 1000)::smallint) FROM 7 FOR 2
    );
    RETURN encode(bytes, 'hex')::uuid;
END
$$
