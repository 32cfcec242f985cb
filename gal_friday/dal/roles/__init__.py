"""The server's roles: what they may do, compared with what they should be able to, and put right."""
