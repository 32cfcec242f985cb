"""How far a command is: a bar where someone is looking, lines elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def progress(console: Console, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A function to be told how many of *total* are done; prints a line every tenth of the way, or a bar."""
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda done: bar.update(task, completed=done)
        return
    tenth = -1

    def line(done: int) -> None:
        nonlocal tenth
        if (now := done * 10 // max(total, 1)) > tenth:
            tenth = now
            console.print(f"{name}: {done} of {total} {unit}", highlight=False)

    yield line
