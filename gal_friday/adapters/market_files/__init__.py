"""Files of candles and trades, as exchanges, freqtrade and we ourselves write them.

`open_market_file` recognises a file by what is in it; `read_candles` and `read_trades` make rows of it, one
at a time, so that a file of any size takes the same memory.
"""
