"""Where the journal lies: a directory for each database, in it a numbered slot for each process."""

import hashlib
import re
from pathlib import Path

from sqlalchemy import URL

from gal_friday.dal.journal.stats import JournalStats
from gal_friday.durable_log.contents import look_into
from gal_friday.durable_log.files import unwritable
from gal_friday.durable_log.refused import RefusedRecords
from gal_friday.durable_log.slots import slot_directories
from gal_friday.errors import LogCorrupted

EMBEDDED = "embedded"


def directory_name(url: URL | None) -> str:
    """What the facts of the database at *url* lie in; None is the embedded server's.

    Facts are for one database. It is known by host, port and name: not by its contents, which a copy has too.
    """
    if url is None:
        return EMBEDDED
    host, port = url.query.get("host") or url.host or "localhost", url.query.get("port") or url.port or 5432
    digest = hashlib.sha256(f"{host}\n{port}\n{url.database}".encode()).hexdigest()[:8]
    return re.sub(r"[^A-Za-z0-9.@-]+", "_", f"{url.database}@{host}-{port}")[:80] + f"-{digest}"


def standing(directory: Path) -> JournalStats:
    """What lies in the journal at *directory*, of any process; takes no lock, changes nothing.

    Only `pending`, `bytes`, `refused` and `damaged` say something: the others are of one process. Blocks.
    Raises LogUnwritable where it cannot be read.
    """
    stats = JournalStats()
    try:
        stats.refused = len(RefusedRecords(directory).lines())
        for slot in slot_directories(directory):
            try:
                contents = look_into(slot)
            except LogCorrupted as error:
                stats.damaged += (str(error.facts["file"]),)
            except FileNotFoundError:  # its owner delivers, or has removed it
                continue
            else:
                stats.pending += contents.pending
                stats.bytes += contents.bytes
    except OSError as error:
        raise unwritable(error, directory) from error
    return stats
