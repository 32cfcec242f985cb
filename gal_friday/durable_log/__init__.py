"""Segments on disk that survive kill -9: what was appended is there, in order, until it is done with."""

from gal_friday.durable_log.log import DurableLog
from gal_friday.durable_log.segments import Record

__all__ = ["DurableLog", "Record"]
