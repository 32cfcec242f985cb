-- Moves an order, which the caller has locked, on by a fill.
CREATE FUNCTION advance_order(f fills, INOUT o orders)
LANGUAGE plpgsql AS $$
DECLARE
    filled numeric := o.filled_quantity + f.quantity_filled;
    value numeric := o.cost + f.quantity_filled * f.fill_price;
    reached varchar := order_status_after(
        o.status, o.reported_status, o.quantity, filled, o.reported_filled_quantity
    );
BEGIN
    UPDATE orders SET
        filled_quantity = filled,
        cost = value,
        average_fill_price = average_price_rounded(value, filled),
        commission_by_asset = CASE WHEN f.commission = 0 THEN commission_by_asset
            ELSE commission_by_asset || jsonb_build_object(f.commission_asset, trim_scale(
                coalesce((commission_by_asset ->> f.commission_asset)::numeric, 0) + f.commission
            )::text) END,
        commission_quote = commission_quote + coalesce(f.commission_quote, 0),
        position_id = f.position_id,
        trade_id = coalesce(f.trade_id, trade_id),
        status = reached,
        status_at = CASE WHEN reached = status THEN status_at ELSE f.filled_at END,
        filled_at = CASE WHEN reached = 'FILLED' THEN coalesce(filled_at, f.filled_at) ELSE filled_at END,
        canceled_at = CASE WHEN reached = 'CANCELED' THEN coalesce(canceled_at, f.filled_at) ELSE canceled_at END
    WHERE id = o.id
    RETURNING * INTO o;
END
$$
