"""Comparing versions of the package."""

import pytest

from gal_friday.dal.migrations.compatibility import version_key


@pytest.mark.parametrize(
    ("older", "newer"),
    [("0.9.2", "0.10.0"), ("0.1", "0.1.1"), ("1.9", "2"), ("0.1.0.dev3", "0.2.0.dev1"), ("9.0.0", "10.0.0")],
)
def test_versions_are_ordered_by_their_numbers(older: str, newer: str) -> None:
    assert version_key(older) < version_key(newer)


def test_what_is_not_a_version_is_refused() -> None:
    with pytest.raises(ValueError, match="latest"):
        version_key("latest")
