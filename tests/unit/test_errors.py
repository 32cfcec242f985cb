import copy
import pickle
import re
from pathlib import Path

from gal_friday import errors
from gal_friday.errors import ConnectionRejected, PersistenceError


def test_the_message_is_the_class_then_the_explanation_then_the_facts() -> None:
    error = ConnectionRejected("no such database", database="bot", port=None)
    assert str(error) == (
        "The server is there but refuses this login, database or certificate; trying again changes nothing: "
        "no such database (database='bot')"
    )
    assert str(PersistenceError()) == "State could not be stored or recovered."


def test_an_error_keeps_its_facts_when_it_is_copied_or_crosses_a_process() -> None:
    error = ConnectionRejected("as it was", host="127.0.0.1", port=5432)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is ConnectionRejected
        assert (str(twin), twin.facts) == (str(error), error.facts)


def test_the_messages_the_troubleshooting_page_lists_are_those_that_are_told() -> None:
    page = (Path(__file__).parents[2] / "DATABASE_SETUP.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([^`]+)` \|", page.partition("## Troubleshooting")[2], re.MULTILINE)
    told = [kind.__doc__ or "" for kind in vars(errors).values() if isinstance(kind, type)]
    assert listed
    for message in listed:
        assert any(text.startswith(message.removesuffix(" …")) for text in told), message
