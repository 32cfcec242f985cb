-- What we intend is refused where another process leads the account.
CREATE FUNCTION guard_intent() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM require_lease(coalesce(NEW.account_id, OLD.account_id));
    RETURN coalesce(NEW, OLD);
END
$$
