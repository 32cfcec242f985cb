"""Every query of every repository, and how the server carries it out on big tables."""
