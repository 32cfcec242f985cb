-- Refuses whoever does not lead the account, by the epochs the transaction names in gal_friday.lease, and holds
-- off a takeover until the transaction has ended. An account nobody has led yet, epoch 0, is anybody's for
-- practice; real money is traded under a lease only.
CREATE FUNCTION require_lease(account text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    named bigint := coalesce(
        (nullif(current_setting('gal_friday.lease', true), '')::jsonb ->> account)::bigint, 0
    );
    lease account_leases;
    problem text;
BEGIN
    PERFORM lock_intents(account, false);
    SELECT * INTO lease FROM account_leases WHERE account_id = account AND epoch = named FOR SHARE;
    IF NOT FOUND THEN
        SELECT * INTO lease FROM account_leases WHERE account_id = account;
        IF NOT FOUND THEN
            RETURN;  -- there is no such account, which the foreign key says better
        END IF;
        problem := CASE named WHEN 0 THEN 'the lease is not held' ELSE 'another process took the lease' END;
    ELSIF named = 0 THEN
        SELECT 'an account of real money is led under a lease' INTO problem
        FROM accounts WHERE account_id = account AND mode = 'LIVE';
    ELSIF NOT EXISTS (
        SELECT FROM instance_metadata WHERE instance_id = lease.holder AND lease_expires_at > clock_timestamp()
    ) THEN
        problem := 'the lease has expired';
    END IF;
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING
            MESSAGE = problem, ERRCODE = 'TR004', TABLE = 'account_leases',
            DETAIL = json_build_object(
                'account_id', account, 'epoch', named, 'current_epoch', lease.epoch, 'holder', lease.holder
            );
    END IF;
END
$$
