-- The stored fill of an order that a report is of: the one with its id, or, where only one of the two has an id
-- of the exchange's, the one alike, nearest in time, that is not yet known to be another's; that is then put
-- on record.
CREATE FUNCTION fill_known_as(f fills, of_order uuid) RETURNS fills
LANGUAGE plpgsql AS $$
DECLARE
    known fills;
BEGIN
    SELECT * INTO known FROM fills WHERE order_id = of_order AND fill_id = f.fill_id;
    IF FOUND THEN
        RETURN known;
    END IF;
    SELECT fills.* INTO known
    FROM fill_aliases JOIN fills ON fills.id = fill_aliases.aliased_fill_id
    WHERE fill_aliases.order_id = of_order AND fill_aliases.fill_id = f.fill_id;
    IF FOUND THEN
        RETURN known;
    END IF;
    SELECT * INTO known FROM fills AS twin
    WHERE order_id = of_order AND fill_id_synthetic <> f.fill_id_synthetic
        AND quantity_filled = f.quantity_filled AND fill_price = f.fill_price
        AND (cumulative_quantity = f.cumulative_quantity) IS NOT FALSE
        AND NOT EXISTS (SELECT FROM fill_aliases WHERE aliased_fill_id = twin.id)
    ORDER BY abs(extract(epoch FROM filled_at - f.filled_at)), filled_at, id
    LIMIT 1;
    IF FOUND THEN
        INSERT INTO fill_aliases (
            id, account_id, aliased_fill_id, order_id, fill_id, fill_id_synthetic, source, raw
        )
        VALUES (
            new_id(), f.account_id, known.id, of_order, f.fill_id, f.fill_id_synthetic, f.source, f.raw
        );
    END IF;
    RETURN known;
END
$$
