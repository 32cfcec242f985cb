"""Line protocol, character by character as its grammar says; written apart from what is tested.

https://docs.influxdata.com/influxdb/v2/reference/syntax/line-protocol/
"""

import math
from dataclasses import dataclass

Value = float | int | bool | str
_BOOLEANS = {
    **dict.fromkeys(("t", "T", "true", "True", "TRUE"), True),
    **dict.fromkeys(("f", "F", "false", "False", "FALSE"), False),
}


class Malformed(Exception):
    """Not a line of line protocol."""


@dataclass(frozen=True)
class Line:
    measurement: str
    tags: tuple[tuple[str, str], ...]
    fields: tuple[tuple[str, Value], ...]
    at: int

    @property
    def series(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        return self.measurement, self.tags


def lines_of(body: str) -> list[str]:
    """The lines of *body*: a newline inside a field's text ends none."""
    found, start, quoted, in_fields, position = [], 0, False, False, 0
    while position < len(body):
        character = body[position]
        if character == "\\":
            position += 2
            continue
        if not quoted and character == " ":
            in_fields = True
        elif character == '"' and in_fields:
            quoted = not quoted
        elif character == "\n" and not quoted:
            found.append(body[start:position])
            start, in_fields = position + 1, False
        position += 1
    found.append(body[start:])
    return [line for line in found if line.strip()]


def parse(line: str) -> Line:
    """Raises Malformed."""
    scanner = _Scanner(line)
    measurement = scanner.name(stops=", ", escapes=", ")
    tags = []
    while scanner.takes(","):
        key = scanner.name(stops="= ,", escapes=",= ")
        scanner.expect("=")
        tags.append((key, scanner.name(stops=", =", escapes=",= ")))
    if len({key for key, _ in tags}) < len(tags):
        raise Malformed("duplicate tags")
    scanner.expect(" ")
    fields = []
    while True:
        key = scanner.name(stops="=, ", escapes=",= ")
        scanner.expect("=")
        fields.append((key, scanner.value()))
        if not scanner.takes(","):
            break
    scanner.expect(" ")
    return Line(measurement, tuple(sorted(tags)), tuple(fields), scanner.whole_number())


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def takes(self, character: str) -> bool:
        if self._text[self._at : self._at + 1] != character:
            return False
        self._at += 1
        return True

    def expect(self, character: str) -> None:
        if not self.takes(character):
            raise Malformed(f"{character!r} expected at {self._at}")

    def name(self, *, stops: str, escapes: str) -> str:
        found = ""
        while self._at < len(self._text) and self._text[self._at] not in stops:
            if self._text[self._at] == "\\" and self._text[self._at + 1 : self._at + 2] in tuple(escapes):
                self._at += 1
            found += self._text[self._at]
            self._at += 1
        if not found or any(ord(character) < 32 for character in found):
            raise Malformed("missing name")
        return found

    def value(self) -> Value:
        if self.takes('"'):
            return self._string()
        end = min(
            (place for stop in ", " if (place := self._text.find(stop, self._at)) >= 0),
            default=len(self._text),
        )
        bare, self._at = self._text[self._at : end], end
        if bare in _BOOLEANS:
            return _BOOLEANS[bare]
        try:
            if bare.endswith("i"):
                return _in_64_bits(int(bare[:-1]))
            number = float(bare)
        except ValueError:
            raise Malformed("invalid number") from None
        if not math.isfinite(number) or "_" in bare:
            raise Malformed("invalid number")
        return number

    def whole_number(self) -> int:
        rest = self._text[self._at :]
        if not rest.lstrip("-").isdecimal():
            raise Malformed("bad timestamp")
        return _in_64_bits(int(rest))

    def _string(self) -> str:
        found = ""
        while not self.takes('"'):
            if self._at >= len(self._text):
                raise Malformed("unbalanced quotes")
            if self._text[self._at] == "\\" and self._text[self._at + 1 : self._at + 2] in ('"', "\\"):
                self._at += 1
            found += self._text[self._at]
            self._at += 1
        return found


def _in_64_bits(number: int) -> int:
    if not -(2**63) <= number < 2**63:
        raise Malformed("value out of range")
    return number
