"""The parts of LiveTradingEngine: what each operation stores, what follows from facts, what is asked."""
