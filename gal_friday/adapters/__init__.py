"""Other people's shapes, in and out."""
