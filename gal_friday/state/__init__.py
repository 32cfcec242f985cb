"""Working state and the books: kept, proved and recovered."""
