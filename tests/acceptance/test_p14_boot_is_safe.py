"""P14: ten processes booting at once, on an old schema or none: one migrates, the others wait, all run."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.migration.synthetic import HEAD, OWN_REVISIONS, Scratch, SyntheticRevisions, scratch_database
from tests.servers import PostgresServer

PROCESSES = 10
ROOT = Path(__file__).parents[2]


@contextmanager
def a_booting_process(url: str, versions: list[Path]) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.migration.boot", url, *map(str, versions)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def boot_together(scratch: Scratch, versions: list[Path]) -> list[dict[str, Any]]:
    """The reports of ten processes that were started one by one and let loose all at once."""
    url = scratch.server.url(scratch.name)
    with ExitStack() as stack:
        processes = [stack.enter_context(a_booting_process(url, versions)) for _ in range(PROCESSES)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate(timeout=300) for process in processes]
        assert [process.returncode for process in processes] == [0] * PROCESSES, outputs
    return [json.loads(output) for output, _ in outputs]


def test_on_an_empty_database_one_migrates_and_all_run(postgres_server: PostgresServer) -> None:
    with scratch_database(postgres_server) as scratch:
        reports = boot_together(scratch, [])
        assert sorted(report["revisions"] for report in reports) == [[]] * (PROCESSES - 1) + [OWN_REVISIONS]
        assert {report["to_revision"] for report in reports} == {HEAD}
        assert scratch.psql("SELECT string_agg(revision, ' ') FROM schema_revisions") == " ".join(
            OWN_REVISIONS
        )


async def test_on_an_old_schema_one_builds_an_index_concurrently_and_all_run(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with scratch_database(postgres_server) as scratch:
        await scratch.manager().run_migrations()
        scratch.psql(
            "INSERT INTO instruments (exchange, trading_pair, base_currency, quote_currency)"
            " SELECT 'kraken', 'X' || n || '/USD', 'X', 'USD' FROM generate_series(1, 20000) n"
        )
        newer = SyntheticRevisions(tmp_path / "versions")
        column = newer.add("note", "op.add_column('instruments', sa.Column('note', sa.Text()))")
        index = newer.add(
            "note_index",
            "operations.create_index_concurrently('ix_instruments_note', 'instruments', ['note'])",
        )

        reports = boot_together(scratch, newer.version_locations)

        assert sorted(report["revisions"] for report in reports) == [[]] * (PROCESSES - 1) + [[column, index]]
        assert {report["to_revision"] for report in reports} == {index}
        valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'ix_instruments_note'::regclass"
        assert scratch.psql(valid) == "t"
