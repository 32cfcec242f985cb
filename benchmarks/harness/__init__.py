"""What every item is measured with."""
