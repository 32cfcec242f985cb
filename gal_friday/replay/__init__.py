"""A trial run: recorded candles, a small strategy, and everything a bot would store."""
