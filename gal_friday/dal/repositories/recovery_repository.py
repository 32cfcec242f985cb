"""What processes found when they started."""

from gal_friday.dal.base import BaseRepository, one_statement
from gal_friday.dal.models.models_base import DEFAULT_ACCOUNT_ID
from gal_friday.dal.models.recovery import RecoveryCertificate


class RecoveryRepository(BaseRepository[RecoveryCertificate]):
    model = RecoveryCertificate

    @one_statement
    async def latest(self, *, account_id: str = DEFAULT_ACCOUNT_ID) -> RecoveryCertificate | None:
        """The certificate of the last recovery in the account, or None."""
        found = await self.find_all(
            RecoveryCertificate.account_id == account_id,
            order_by=(RecoveryCertificate.recovered_at.desc(), RecoveryCertificate.id.desc()),
            limit=1,
        )
        return found[0] if found else None
