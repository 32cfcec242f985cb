"""What several promises need to be tested."""

import pytest


@pytest.fixture
def children_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process killed with SIGKILL leaves no coverage data: measuring it would only take time."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
