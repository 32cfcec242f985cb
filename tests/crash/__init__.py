"""The crash bench: trading that is killed, cut off, stopped and starved, and checked after each time."""
