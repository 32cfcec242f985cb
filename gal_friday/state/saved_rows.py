"""SavedRows: what one transaction has saved, as long as it is not undone."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import SessionTransaction

from gal_friday.dal.detached import bring_up_to_date, column_values, detached_copy
from gal_friday.dal.models import PortfolioPosition
from gal_friday.dal.unit_of_work import UnitOfWork
from gal_friday.dal.write_notices import was_undone
from gal_friday.state.versioned_save import Image, Row, image_of, save_image


@dataclass(frozen=True, slots=True)
class _SavedRow:
    """A row as it was *stored* for an *image*, unless the savepoint *within* is undone."""

    image: Image[Any]
    stored: Any
    within: SessionTransaction | None


class SavedRows:
    """Saves rows of one account in the transaction of *uow*.

    Entities given to be saved are left as they are until it is known that the transaction is committed; an
    entity saved twice is known by itself. *told_by* is who tells its cache of what is saved here.
    """

    def __init__(self, uow: UnitOfWork, *, account_id: str, told_by: object) -> None:
        self._uow = uow
        self._session = uow.session.sync_session
        self._account_id = account_id
        self._told_by = told_by
        self._saved: list[_SavedRow] = []

    async def save_entity(self, entity: Row, *, overwrite: bool = False) -> None:
        """Store *entity*. Raises InvalidValue, StaleWrite, and what the database refuses it for."""
        if inspect(entity).session is self._session:
            await self._uow.flush()
            return
        image = image_of(entity, account_id=self._account_id)
        await self.save_image(image, overwrite=overwrite)

    async def save_image(self, image: Image[Row], *, overwrite: bool = False) -> None:
        """As `save_entity`, for what an entity held when its image was taken."""
        await self._uow.flush()
        row = await save_image(
            self._uow.session,
            image,
            expected=self._expected(image),
            overwrite=overwrite,
            told_by=self._told_by,
        )
        self._saved.append(_SavedRow(image, detached_copy(row), self._session.get_nested_transaction()))

    def tell_callers(self) -> None:
        """After the commit: bring the entities that were given to be saved up to date."""
        last = {id(saved.image.entity): saved for saved in self._not_undone()}
        for saved in last.values():
            bring_up_to_date(saved.image.entity, saved.image.values, column_values(saved.stored))

    def positions(self) -> list[PortfolioPosition]:
        """The positions saved, each as it was stored last."""
        stored = (saved.stored for saved in self._not_undone())
        return list({row.position_id: row for row in stored if isinstance(row, PortfolioPosition)}.values())

    def _not_undone(self) -> list[_SavedRow]:
        return [saved for saved in self._saved if not was_undone(self._session, saved.within)]

    def _expected(self, image: Image[Row]) -> int | None:
        for saved in reversed(self._not_undone()):
            if saved.image.entity is image.entity:
                version: int = saved.stored.row_version
                return version
        return image.expected
