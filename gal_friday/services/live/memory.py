"""What an engine knows of its account without asking: what was stored last."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from gal_friday.dal.models import EntryStatus, PortfolioPosition, PyramidingState
from gal_friday.state import DatabaseStateManager


class Memory:
    """Live entries by name and pyramids by instrument, each as of its last commit here.

    Nothing is decided by it: every operation reads what it changes.
    """

    def __init__(self) -> None:
        self._positions: dict[str, PortfolioPosition] = {}
        self._pyramids: dict[str, PyramidingState] = {}
        self._versions: dict[str, int] = {}
        self.is_stale = True

    @property
    def positions(self) -> Mapping[str, PortfolioPosition]:
        """Entries that are not closed, by name."""
        return MappingProxyType(self._positions)

    @property
    def pyramids(self) -> Mapping[str, PyramidingState]:
        """How far the pyramid in each instrument has been built."""
        return MappingProxyType(self._pyramids)

    async def load(self, state: DatabaseStateManager) -> None:
        """Forget everything, and read what is stored."""
        positions = await state.get_all_open_positions()
        pyramids = await state.get_pyramiding_state()
        self._positions, self._pyramids = dict(positions), dict(pyramids)
        self._versions = {name: position.row_version for name, position in positions.items()}
        self.is_stale = False

    def keep(
        self, positions: Iterable[PortfolioPosition | None], pyramids: Iterable[PyramidingState | None] = ()
    ) -> None:
        """Take what was committed; what is older than what is known already is not."""
        for position in positions:
            if position is None or position.row_version < self._versions.get(position.position_id, 0):
                continue
            self._versions[position.position_id] = position.row_version
            if position.status is EntryStatus.CLOSED:
                self._positions.pop(position.position_id, None)
            else:
                self._positions[position.position_id] = position
        for pyramid in pyramids:
            if pyramid is None:
                continue
            known = self._pyramids.get(pyramid.instrument)
            if known is None or pyramid.row_version >= known.row_version:
                self._pyramids[pyramid.instrument] = pyramid
