"""The keeper's memory: records, their timelines and one revision for all, in SQLite."""

from .database import Database
from .records import Notice, ProcessName, Record, boot_id, container_id
from .store import Store

__all__ = ["Database", "Notice", "ProcessName", "Record", "Store", "boot_id", "container_id"]
