"""What keeps the tables that grow without end in shape: partitions, retention, down-sampling."""

from gal_friday.upkeep.runner import Upkeep, run_upkeep

__all__ = ["Upkeep", "run_upkeep"]
