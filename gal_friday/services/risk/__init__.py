"""The parts of the risk check: what is read, what it adds up to, what is checked, what follows."""
