"""RoleManager: the roles that migrate, trade, read and watch, in one database."""

from sqlalchemy.engine import URL

from gal_friday.config import DatabaseSettings
from gal_friday.dal.migrations.connections import exclusive_connection, migration_engine, run_retrying
from gal_friday.dal.roles.comparison import RolesReport, differences, names_of_roles, put_right


class RoleManager:
    """The roles `<role_prefix>migrator`, `…trader`, `…reader` and `…monitor`, and what they may do at *url*.

    What each may do is declared in `models/privileges.py`. Nobody logs in as one of them: logins are made by
    hand and are members. Roles are the whole server's: databases that are to have their own take another
    `role_prefix`. Every method may raise DatabaseUnavailable; *url* must not lead through PgBouncer.
    """

    def __init__(self, url: URL, settings: DatabaseSettings) -> None:
        self._url = url
        self._settings = settings
        self._names = names_of_roles(settings.role_prefix)

    async def apply(self) -> RolesReport:
        """Make missing roles, hand the tables over to the migrator, grant and revoke: all or nothing.

        For a superuser, or for whoever owns the database and may create roles and grant pg_monitor. Raises
        PermissionDenied for others, with the statement that was refused, and MigrationLockTimeout while
        someone migrates for longer than `migration_wait_seconds`.
        """
        async with exclusive_connection(self._url, self._settings) as (connection, lock):
            report = await lock.while_held(
                run_retrying(
                    connection,
                    lambda handed: put_right(handed, self._names),
                    timeout_seconds=self._settings.migration_wait_seconds,
                )
            )
            await connection.commit()
            return report

    async def check(self) -> list[str]:
        """Where the roles are not as declared, one phrase for each difference; empty if nowhere.

        Any login may ask.
        """
        async with migration_engine(self._url, self._settings).connect() as connection:
            return await connection.run_sync(differences, self._names)
