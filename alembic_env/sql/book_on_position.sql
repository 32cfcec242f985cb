-- Books a fill on its position and on the trades made with it, at average cost. Gives the fill its place among
-- the position's fills, its trade (of a flip: the one it ends) and what it realised.
CREATE FUNCTION book_on_position(INOUT f fills, o orders)
LANGUAGE plpgsql AS $$
DECLARE
    p positions := lock_open_position(f, o.strategy_id);
    held numeric := CASE p.side WHEN 'SHORT' THEN -p.quantity ELSE p.quantity END;
    exited numeric := CASE WHEN sign(held) * sign(f.net_quantity) < 0
        THEN least(p.quantity, abs(f.net_quantity)) ELSE 0 END;
    entered numeric := abs(f.net_quantity) - exited;
    released numeric := CASE WHEN exited > 0 THEN cost_share_rounded(p.cost, exited, p.quantity) ELSE 0 END;
    gain numeric := cost_rounded((exited * f.fill_price - released) * f.contract_multiplier * sign(held));
    fee numeric := coalesce(f.commission_quote, 0);
    exit_fee numeric := CASE WHEN exited > 0 THEN cost_share_rounded(fee, exited, abs(f.net_quantity)) ELSE 0 END;
    entered_trade uuid;
BEGIN
    held := held + f.net_quantity;
    p.cost := p.cost - released + entered * f.fill_price;
    UPDATE positions SET
        side = CASE WHEN held = 0 THEN side WHEN held < 0 THEN 'SHORT' ELSE 'LONG' END,
        quantity = abs(held),
        cost = p.cost,
        entry_price = CASE WHEN held = 0 THEN entry_price ELSE average_price_rounded(p.cost, abs(held)) END,
        realized_pnl = realized_pnl + gain,
        total_commission = total_commission + fee,
        last_applied_seq = last_applied_seq + 1,
        opened_at = CASE WHEN exited > 0 AND entered > 0 THEN f.filled_at ELSE opened_at END,
        closed_at = CASE WHEN held = 0 THEN f.filled_at END
    WHERE id = p.id
    RETURNING id, last_applied_seq INTO f.position_id, f.applied_seq;
    IF exited > 0 THEN
        f.realized_pnl := gain;
        f.trade_id := exit_trade(f, o, exited, gain, exit_fee, entered > 0 OR held = 0);
    END IF;
    IF entered > 0 THEN
        entered_trade := enter_trade(f, o, entered, fee - exit_fee, exited > 0);
        f.trade_id := coalesce(f.trade_id, entered_trade);
    END IF;
END
$$
