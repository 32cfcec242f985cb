"""Which instance may act for which account."""

from gal_friday.dal.base import BaseRepository
from gal_friday.dal.models.instances import AccountLease


class LeaseRepository(BaseRepository[AccountLease]):
    model = AccountLease
