"""Which points to delete, in the one notation the server's delete API has.

https://docs.influxdata.com/influxdb/v2/reference/syntax/delete-predicate/
"""

from collections.abc import Mapping

from gal_friday.timeseries.names import escaped_measurement, escaped_tag_key, escaped_tag_value


def deleting(measurement: str, tags: Mapping[str, str]) -> str:
    """The predicate of the points of *measurement* whose tags contain *tags*.

    Raises InvalidValue for what no point has. What is left has no control character, and in double quotes
    only a backslash and a double quote mean something.
    """
    escaped_measurement(measurement)
    for key, value in tags.items():
        escaped_tag_key(key)
        escaped_tag_value(value)
    pairs = {"_measurement": measurement, **tags}
    return " AND ".join(f"{_quoted(key)}={_quoted(value)}" for key, value in pairs.items())


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
