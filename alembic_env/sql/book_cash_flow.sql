CREATE FUNCTION book_cash_flow() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO portfolio_state (account_id, currency, initial_capital, closed_equity)
    VALUES (NEW.account_id, NEW.currency, 0, NEW.amount)
    ON CONFLICT (account_id, currency)
    DO UPDATE SET closed_equity = portfolio_state.closed_equity + excluded.closed_equity;
    RETURN NULL;
END
$$
