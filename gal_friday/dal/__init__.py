"""Data access: pool, unit of work, repositories, models, migrations."""
