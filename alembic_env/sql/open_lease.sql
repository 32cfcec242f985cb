-- Every account has a lease from its beginning, so that its first holder, too, is waited for.
CREATE FUNCTION open_lease() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account_leases (account_id) VALUES (NEW.account_id) ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$
