"""What a database's catalog says of its schema, partitions left out."""

from tests.migration.synthetic import Scratch

TABLES = """
    SELECT relname, relkind, pg_get_partkeydef(oid), obj_description(oid) FROM pg_class
    WHERE relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
"""
COLUMNS = """
    SELECT attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attidentity,
        attgenerated, pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
    FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attnum > 0 AND NOT attisdropped
        AND relkind IN ('r', 'p') AND NOT relispartition AND relnamespace = 'public'::regnamespace
"""
CONSTRAINTS = """
    SELECT conrelid::regclass, conname, pg_get_constraintdef(pg_constraint.oid)
    FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
    WHERE contype <> 't' AND NOT relispartition AND relnamespace = 'public'::regnamespace
"""
INDEXES = """
    SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
    WHERE NOT relispartition AND relnamespace = 'public'::regnamespace
"""


def catalog(scratch: Scratch) -> dict[str, list[str]]:
    """Tables, columns, constraints and indexes, with all that distinguishes them."""
    queries = {"tables": TABLES, "columns": COLUMNS, "constraints": CONSTRAINTS, "indexes": INDEXES}
    return {
        name: sorted(row for row in scratch.psql(query).splitlines() if "alembic_version" not in row)
        for name, query in queries.items()
    }
