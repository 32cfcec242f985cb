"""The hot path: statements made once for each model, executed on asyncpg itself.

What SQLAlchemy's unit of work would do for a row (bind its values, read back what the server filled in, make
an entity of a record) is done here from the same mappings and the same column types, on the driver connection
of the same transaction. A row in a shape this does not know is left to SQLAlchemy, as everything else is.
"""
