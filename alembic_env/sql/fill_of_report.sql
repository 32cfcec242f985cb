-- A report of an execution as a row of fills, its defaults filled in. One without an id gets one from what the
-- order had filled after it, or else from what it says itself and its ordinal among equal ones.
CREATE FUNCTION fill_of_report(report jsonb) RETURNS fills
LANGUAGE plpgsql AS $$
DECLARE
    f fills := jsonb_populate_record(NULL::fills, report);
BEGIN
    f.fill_id_synthetic := f.fill_id IS NULL OR coalesce(f.fill_id_synthetic, false);
    f.fill_id := coalesce(
        f.fill_id,
        'cumulative-' || trim_scale(f.cumulative_quantity),
        'derived-' || md5(concat_ws(
            '|', trim_scale(f.quantity_filled), trim_scale(f.fill_price), extract(epoch FROM f.filled_at),
            coalesce(report ->> 'ordinal', '1')
        ))
    );
    f.id := coalesce(f.id, new_id());
    f.commission := coalesce(f.commission, 0);
    f.source := coalesce(f.source, 'ENGINE');
    f.received_at := coalesce(f.received_at, now());
    f.created_at := now();
    f.trade_id := NULL;
    f.realized_pnl := NULL;
    RETURN f;
END
$$
