"""`python -m tests.flux.texts`: every Flux text there is, with its parameters, as JSON for check.js."""

import json
import sys

from gal_friday.dal.influx import flux
from gal_friday.dal.influx.syntax_tree import matching, parameters

#: Tag values that would end a text, begin a comment or be filled in, if they were ever part of a text.
HOSTILE = [
    'x" or true or "" == "',
    'x"})|> yield(name: "stolen") //',
    '${secrets.get(key: "token")}',
    "back\\slash",
    'quote"',
    "é 日本",
]


def texts() -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for name in ("POINTS", "LAST"):
        for value in HOSTILE:
            tags = {"exchange": value, 'a "tag': "b"}
            extern = parameters(
                bucketName=value, startNs=-1, stopNs=2, matches=matching("measurement", tags, ["f", value])
            )
            found.append({"name": name, "flux": getattr(flux, name), "extern": extern, "value": value})
    found += [
        {"name": task.name, "flux": task.flux, "extern": None, "value": None}
        for task in flux.tasks("market-data", "market-data.long_term")
    ]
    return found


if __name__ == "__main__":
    json.dump(texts(), sys.stdout)
