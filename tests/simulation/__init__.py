"""A simulated market, an exchange of ours and competing instances of a bot, all determined by a seed."""
