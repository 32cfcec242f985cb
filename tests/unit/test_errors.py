import copy
import pickle

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
