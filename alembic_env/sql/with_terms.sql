-- A fill with what follows from its instrument: its currencies, its multiplier, the fee in quote currency where
-- the rate is known, and the units the position changes by. A fee taken in base units of a spot pair is
-- valued at the fill's own price and leaves the position.
CREATE FUNCTION with_terms(f fills) RETURNS fills
LANGUAGE plpgsql STABLE AS $$
DECLARE
    listed instruments;
    base text;
BEGIN
    SELECT * INTO listed FROM instruments WHERE exchange = f.exchange AND trading_pair = f.trading_pair;
    base := coalesce(listed.base_currency, split_part(f.trading_pair, '/', 1));
    f.quote_currency := coalesce(
        f.quote_currency, listed.quote_currency, nullif(split_part(split_part(f.trading_pair, '/', 2), ':', 1), '')
    );
    f.contract_multiplier := coalesce(listed.contract_multiplier, 1);
    f.commission_asset := coalesce(f.commission_asset, f.quote_currency);
    f.net_quantity := CASE f.side WHEN 'BUY' THEN f.quantity_filled ELSE -f.quantity_filled END;
    IF f.commission_asset = f.quote_currency OR f.commission = 0 THEN
        f.commission_quote := f.commission;
    ELSIF f.commission_asset = base THEN
        f.commission_quote := f.commission * f.fill_price;
        IF coalesce(listed.kind, 'SPOT') = 'SPOT' THEN
            f.net_quantity := f.net_quantity - f.commission;
        END IF;
    END IF;
    RETURN f;
END
$$
