<%!
from gal_friday import __version__

def body(commands):
    lines = [line for line in (commands or "").splitlines() if not line.strip().startswith("# ###")]
    return "\n".join(lines).strip() or "pass"
%>\
"""${message}

Revision: ${up_revision}
Revises: ${down_revision or "nothing"}
Created: ${create_date}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# The oldest version of gal_friday that works with the schema this revision makes.
oldest_code = ${repr(__version__)}


def upgrade() -> None:
    ${body(upgrades)}


def downgrade() -> None:
    ${body(downgrades)}
