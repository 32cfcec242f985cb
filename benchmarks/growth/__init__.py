"""What a bot asks of its database, timed as the tables grow."""
