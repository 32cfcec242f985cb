CREATE FUNCTION book_cash_flow() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM book_equity(
        NEW.account_id, NEW.currency, NEW.amount,
        CASE WHEN NEW.kind IN ('OPENING', 'DEPOSIT', 'WITHDRAWAL', 'TRANSFER') THEN NEW.amount ELSE 0 END
    );
    RETURN NULL;
END
$$
