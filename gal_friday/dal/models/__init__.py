"""Every table, on one Base."""
