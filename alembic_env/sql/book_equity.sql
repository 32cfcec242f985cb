-- Moves what an account is worth in a currency; the row is made where there is none.
CREATE FUNCTION book_equity(account varchar, in_currency varchar, amount numeric) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO portfolio_state (account_id, currency, initial_capital, closed_equity)
    VALUES (account, in_currency, 0, amount)
    ON CONFLICT (account_id, currency)
    DO UPDATE SET closed_equity = portfolio_state.closed_equity + excluded.closed_equity;
END
$$
