"""What the client has announced: how far each lifecycle is for certain, and how far it may be."""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.crash.calls import JOURNALED
from tests.crash.lifecycles import FACTS, TASKS, Name

#: What a call may be answered with while the server, the network or the disk is away; all else is a finding.
EXCUSED = frozenset(
    {
        *("DatabaseUnavailable", "ConnectionLost", "CommitUnknown", "TooManyConnections"),
        *("DiskFull", "StatementTimeout", "PoolTimeout", "LockTimeout", "TransactionConflict", "LeaseLost"),
    }
)


@dataclass
class Course:
    """A lifecycle: its first *done* calls are certain; those up to *begun* may have happened.

    *answers* are what acknowledged calls gave back, by their place.
    """

    name: Name
    done: int = 0
    begun: int = 0
    begun_at: float = 0.0
    answers: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def in_flight(self) -> bool:
        return self.begun > self.done


@dataclass
class Record:
    """All that was announced in one generation of accounts."""

    generation: int
    courses: dict[Name, Course] = field(default_factory=dict)
    acknowledged: int = 0
    #: Of these, how many an earlier round has counted.
    counted: int = 0
    #: Facts that went to the journal since the last round.
    journaled: int = 0
    failures: list[str] = field(default_factory=list)
    unexcused: list[str] = field(default_factory=list)
    #: Intents, and when they began: those acknowledged, and those refused for want of the lease.
    intended: list[tuple[float, str]] = field(default_factory=list)
    refused: list[tuple[float, Name]] = field(default_factory=list)

    def hear(self, announcement: dict[str, Any]) -> None:
        name, place, what = Name(*announcement["of"]), announcement["call"], announcement["what"]
        course = self.courses.setdefault(name, Course(name))
        match announcement["said"]:
            case "began":
                course.begun = max(course.begun, place + 1)
                course.begun_at = announcement["at"]
            case "acknowledged":
                course.done = max(course.done, place + 1)
                course.answers[place] = announcement["answer"]
                self.acknowledged += 1
                self.journaled += any(told.get("result") == JOURNALED for told in announcement["answer"])
                if what not in FACTS:
                    self.intended.append((course.begun_at, f"call {place} of {name}: {what}"))
            case "failed":
                text = f"call {place} of {name}: {announcement['error']}: {announcement['message']}"
                self.failures.append(text)
                if announcement["error"] not in EXCUSED:
                    self.unexcused.append(text)
                if announcement["error"] == "LeaseLost":
                    self.refused.append((course.begun_at, name))
                    if what in FACTS:
                        self.unexcused.append(f"a fact was refused: {text}")

    def lead_by_another_since(self, moment: float) -> list[str]:
        """Intents begun since then and acknowledged; of those refused it is certain that they are absent."""
        for begun_at, name in self.refused:
            if begun_at > moment:
                self.courses[name].begun = self.courses[name].done
        return [text for begun_at, text in self.intended if begun_at > moment]

    def in_flight(self) -> list[Course]:
        return [course for course in self.courses.values() if course.in_flight]

    def work(self, lengths: dict[Name, int]) -> str:
        """A line for the client: what it goes on with, and which lifecycle each task begins next."""
        unfinished: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        following = dict.fromkeys(range(TASKS), 0)
        for course in self.courses.values():
            following[course.name.task] = max(following[course.name.task], course.name.number + 1)
            if course.done < lengths[course.name]:
                unfinished[course.name.task].append((course.name.number, course.done))
        tasks = [{"next": following[task], "unfinished": sorted(unfinished[task])} for task in range(TASKS)]
        return json.dumps({"generation": self.generation, "tasks": tasks})
