-- Asked after require_lease: who makes a halt waits for those that have asked before it was in force.
CREATE FUNCTION require_no_halt(account text, strategy text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    halt record;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- A snapshot does not show what was halted since. Its account's row was changed by that, and refuses.
        PERFORM FROM accounts WHERE account_id = account FOR SHARE;
    END IF;
    SELECT halted_at, halt_reason, halted_by, strategy_id INTO halt
    FROM (
        SELECT halted_at, halt_reason, halted_by, NULL AS strategy_id FROM accounts
        WHERE account_id = account AND halted_at IS NOT NULL
        UNION ALL
        SELECT halted_at, halt_reason, halted_by, strategy_id FROM strategy_halts
        WHERE account_id = account AND strategy_id = strategy AND halted_at IS NOT NULL
    ) AS halts LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING
            MESSAGE = halt.halt_reason, ERRCODE = 'TR005',
            DETAIL = json_build_object(
                'account_id', account, 'strategy_id', halt.strategy_id, 'halted_at', halt.halted_at,
                'halted_by', halt.halted_by
            );
    END IF;
END
$$
