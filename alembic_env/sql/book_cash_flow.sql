CREATE FUNCTION book_cash_flow() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM book_equity(NEW.account_id, NEW.currency, NEW.amount);
    RETURN NULL;
END
$$
