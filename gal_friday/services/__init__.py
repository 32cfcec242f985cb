"""What a bot does with its orders, positions and risk, on the database."""

from gal_friday.services.execution_handler import ExecutionHandler

__all__ = ["ExecutionHandler"]
