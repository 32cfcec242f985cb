-- Moves what an account is worth in a currency, of which *capital* came in or went out; the row is made where
-- there is none. Capital is neither profit nor loss: the peak, which drawdowns count from, moves with it.
CREATE FUNCTION book_equity(account varchar, in_currency varchar, amount numeric, capital numeric)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO portfolio_state (account_id, currency, initial_capital, closed_equity, peak_equity)
    VALUES (account, in_currency, 0, amount, nullif(capital, 0))
    ON CONFLICT (account_id, currency) DO UPDATE SET
        closed_equity = portfolio_state.closed_equity + excluded.closed_equity,
        peak_equity = CASE WHEN capital = 0 THEN portfolio_state.peak_equity
            ELSE coalesce(portfolio_state.peak_equity, 0) + capital END;
END
$$
