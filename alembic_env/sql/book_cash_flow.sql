-- Capital that comes or goes is neither profit nor loss: the peak, which drawdowns count from, moves with it.
CREATE FUNCTION book_cash_flow() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM book_equity(NEW.account_id, NEW.currency, NEW.amount);
    IF NEW.kind IN ('OPENING', 'DEPOSIT', 'WITHDRAWAL', 'TRANSFER') THEN
        UPDATE portfolio_state SET peak_equity = coalesce(peak_equity, 0) + NEW.amount
        WHERE account_id = NEW.account_id AND currency = NEW.currency;
    END IF;
    RETURN NULL;
END
$$
