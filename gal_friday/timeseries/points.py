"""A point of any measurement, and what every kind of point can be asked."""

import math
from collections.abc import Mapping
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, SupportsFloat

from gal_friday.errors import InvalidValue
from gal_friday.timeseries.instants import Instant, nanoseconds
from gal_friday.timeseries.shapes import Shape, shape_of

FieldValue = float | int | bool | str
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
#: Types that float() takes, too.
_NO_NUMBERS = (bool, str)


class Measured(Protocol):
    """What was measured at one instant: a series, which measurement and tags name, and values."""

    @property
    def measurement(self) -> str:
        """What is measured."""
        ...

    @property
    def timestamp_ns(self) -> int:
        """When, in nanoseconds since 1970 in UTC."""
        ...

    def tags(self) -> Mapping[str, str]:
        """What the series is known by, beside its measurement."""
        ...

    def fields(self) -> Mapping[str, FieldValue]:
        """The values, at least one."""
        ...


class Point:
    """A point of a measurement that need not have a type of its own; it never changes.

    *timestamp_ns* is an aware datetime or nanoseconds since 1970. Raises InvalidValue for a name or a tag
    that is empty or that line protocol cannot carry, for no fields at all, and for a value that is no finite
    number, no 64-bit integer, or text with a NUL character.
    """

    __slots__ = ("_fields", "shape", "timestamp_ns")

    shape: Shape
    timestamp_ns: int
    _fields: Mapping[str, FieldValue]

    def __init__(
        self,
        measurement: str,
        tags: Mapping[str, str],
        fields: Mapping[str, FieldValue],
        timestamp_ns: Instant,
    ) -> None:
        shape = _shape(measurement, tags, fields)
        if not shape.is_plain:
            fields = {str.__str__(name): _plain(name, value) for name, value in fields.items()}
            shape = _shape(measurement, tags, fields)
        _check_values(shape, fields)
        put = object.__setattr__
        put(self, "shape", shape)
        put(self, "_fields", dict(fields))
        put(self, "timestamp_ns", nanoseconds(timestamp_ns))

    @classmethod
    def of(cls, shape: Shape, fields: Mapping[str, FieldValue], timestamp_ns: int) -> "Point":
        """The point of these *fields*, which are those of *shape*, checked, and nobody else's."""
        point = object.__new__(cls)
        put = object.__setattr__
        put(point, "shape", shape)
        put(point, "_fields", fields)
        put(point, "timestamp_ns", timestamp_ns)
        return point

    @property
    def measurement(self) -> str:
        return self.shape.measurement

    def tags(self) -> Mapping[str, str]:
        return self.shape.tags

    def fields(self) -> Mapping[str, FieldValue]:
        return MappingProxyType(self._fields)

    def values(self) -> tuple[FieldValue, ...]:
        """The fields' values by the fields' names."""
        return self.shape.values(self._fields)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a point never changes: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a point never changes: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash((self.measurement, self.timestamp_ns, *self.tags().items()))

    def __repr__(self) -> str:
        return f"Point({self.measurement!r}, {dict(self.tags())!r}, {self._fields!r}, {self.timestamp_ns})"

    def __reduce__(self) -> tuple[type["Point"], tuple[object, ...]]:
        return Point, (self.measurement, dict(self.tags()), self._fields, self.timestamp_ns)

    def _content(self) -> tuple[object, ...]:
        # 1, 1.0 and True are equal to each other, and fields of different types.
        typed = {name: (type(value), value) for name, value in self._fields.items()}
        return self.measurement, self.timestamp_ns, self.tags(), typed


class Measurement:
    """What the measurements with a type of their own share: the point each of them is."""

    __slots__ = ("point",)

    measurement: ClassVar[str]
    timestamp_ns: int
    point: Point

    def __reduce__(self) -> tuple[Any, ...]:
        # What dataclass gives a class with slots copies its own fields only.
        slots = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        return _restored, (type(self), {name: getattr(self, name) for name in slots})

    def _is(self, tags: Mapping[str, str], fields: Mapping[str, FieldValue], at: Instant) -> None:
        self._is_point(Point(self.measurement, tags, fields, at))

    def _is_exactly(
        self, tags: tuple[tuple[str, str], ...], fields: Mapping[str, FieldValue], timestamp_ns: int
    ) -> None:
        """As `_is`, for *fields* whose floats are checked, and which nobody else has."""
        try:
            shape = shape_of(
                self.measurement, tags, tuple(fields), tuple([type(value) for value in fields.values()])
            )
        except TypeError:
            shape = None
        if shape is None or not shape.is_plain:  # Point says what is wrong, or makes it plain
            self._is(dict(tags), fields, timestamp_ns)
            return
        _check_integers_and_texts(shape, fields)
        self._is_point(Point.of(shape, fields, timestamp_ns))

    def _is_point(self, point: Point) -> None:
        object.__setattr__(self, "point", point)
        object.__setattr__(self, "timestamp_ns", point.timestamp_ns)

    def tags(self) -> Mapping[str, str]:
        """What the series is known by, beside its measurement."""
        return self.point.tags()

    def fields(self) -> Mapping[str, FieldValue]:
        """The values as they are written to a time-series store."""
        return self.point.fields()


def _restored(kind: type[Measurement], values: Mapping[str, Any]) -> Measurement:
    measured = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(measured, name, value)
    return measured


def as_point(measured: Measured) -> Point:
    """*measured* without its type. Raises InvalidValue as `Point` does."""
    if type(measured) is Point:
        return measured
    if isinstance(measured, Measurement):
        return measured.point
    return Point(measured.measurement, measured.tags(), measured.fields(), measured.timestamp_ns)


def finite(name: str, value: SupportsFloat) -> float:
    """*value*, a decimal too, as the nearest 64-bit float. Raises InvalidValue where that is not finite."""
    if isinstance(value, _NO_NUMBERS):
        raise InvalidValue(f"a {type(value).__name__} is not a number", field=name, value=value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidValue("is no 64-bit floating-point number", field=name, value=value) from None
    if not math.isfinite(number):
        raise InvalidValue("not a finite number", field=name, value=value)
    return number


def _shape(measurement: str, tags: Mapping[str, str], fields: Mapping[str, FieldValue]) -> Shape:
    try:
        return shape_of(measurement, tuple(tags.items()), tuple(fields), tuple(map(type, fields.values())))
    except TypeError:  # unhashable, or of several types that have no order
        raise InvalidValue(
            "names and tags are text", measurement=measurement, tags=tags, fields=list(fields)
        ) from None


def _check_values(shape: Shape, fields: Mapping[str, Any]) -> None:
    if not all(map(math.isfinite, shape.floats(fields))):
        for name, value in fields.items():
            if isinstance(value, float):
                finite(name, value)
    _check_integers_and_texts(shape, fields)


def _check_integers_and_texts(shape: Shape, fields: Mapping[str, Any]) -> None:
    for value in shape.integers(fields):
        if not _SMALLEST <= value <= _LARGEST:
            raise InvalidValue("does not fit 64 bits", measurement=shape.measurement, value=value)
    for _, name in shape.strings:
        _check_text(name, fields[name])


def _plain(name: str, value: object) -> FieldValue:
    match value:
        case bool():
            return value
        case Integral():
            return int(value)
        case Real():  # NumPy's too
            return finite(name, value)
        case str():
            return str.__str__(value)
        case _:
            raise InvalidValue(
                f"a {type(value).__name__} is no float, int, bool or str", field=name, value=value
            )


def _check_text(name: str, value: str) -> None:
    if "\x00" in value:
        raise InvalidValue("PostgreSQL stores no NUL character", field=name, value=value)
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue("a lone surrogate is not a character", field=name, value=value) from None
