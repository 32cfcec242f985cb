"""Closed sets: each is a StrEnum here and a CHECK in the database, compared by a test."""

from enum import StrEnum


class AccountMode(StrEnum):
    LIVE = "LIVE"
    PAPER = "PAPER"


class InstrumentKind(StrEnum):
    SPOT = "SPOT"
    PERPETUAL = "PERPETUAL"
    FUTURE = "FUTURE"
    OPTION = "OPTION"


class CashFlowKind(StrEnum):
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    FUNDING = "FUNDING"
    INTEREST = "INTEREST"
    FEE = "FEE"
    TRANSFER = "TRANSFER"
    OPENING = "OPENING"
    ADJUSTMENT = "ADJUSTMENT"


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"


class EntryType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"


class SignalStatus(StrEnum):
    PROPOSED = "PROPOSED"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXECUTED = "EXECUTED"
    EXPIRED = "EXPIRED"


class RiskScope(StrEnum):
    ACCOUNT = "ACCOUNT"
    STRATEGY = "STRATEGY"
    PAIR = "PAIR"


class RiskVerdict(StrEnum):
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    RESIZED = "RESIZED"
    HALTED = "HALTED"


class OrderOrigin(StrEnum):
    ENGINE = "ENGINE"
    EXTERNAL = "EXTERNAL"


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    STOP_LIMIT = "STOP_LIMIT"
    TRAILING_STOP = "TRAILING_STOP"


class TimeInForce(StrEnum):
    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    DAY = "DAY"
    GTD = "GTD"


class OrderStatus(StrEnum):
    PENDING_NEW = "PENDING_NEW"
    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    PENDING_CANCEL = "PENDING_CANCEL"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


#: Orders in these states can still fill.
WORKING_ORDER_STATUSES = (
    OrderStatus.PENDING_NEW,
    OrderStatus.NEW,
    OrderStatus.PARTIALLY_FILLED,
    OrderStatus.PENDING_CANCEL,
)


class ReportSource(StrEnum):
    """How a fact reached us."""

    STREAM = "STREAM"
    POLL = "POLL"
    RECONCILE = "RECONCILE"
    ENGINE = "ENGINE"
    MANUAL = "MANUAL"


class LiquidityType(StrEnum):
    MAKER = "MAKER"
    TAKER = "TAKER"


class TradeStatus(StrEnum):
    OPEN = "OPEN"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    CLOSED = "CLOSED"
    CANCELED = "CANCELED"


class PositionSide(StrEnum):
    LONG = "LONG"
    SHORT = "SHORT"


class EntryStatus(StrEnum):
    """State of a portfolio position: an entry or a pyramid of its own."""

    OPEN = "open"
    CLOSED = "closed"
    PARTIAL = "partial"


class RolloverStatus(StrEnum):
    NONE = "none"
    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    ROLLED = "rolled"
    FAILED = "failed"


class ProcessingStatus(StrEnum):
    RECEIVED = "received"
    PROCESSED = "processed"
    REJECTED = "rejected"
    FAILED = "failed"


class InstanceStatus(StrEnum):
    ACTIVE = "active"
    DRAINING = "draining"
    STOPPED = "stopped"
    CRASHED = "crashed"


#: Processes that have not ended, as far as they said.
RUNNING_INSTANCE_STATUSES = (InstanceStatus.ACTIVE, InstanceStatus.DRAINING)


class BacktestStatus(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class ModelStage(StrEnum):
    DEVELOPMENT = "DEVELOPMENT"
    STAGING = "STAGING"
    PRODUCTION = "PRODUCTION"
    ARCHIVED = "ARCHIVED"


class Severity(StrEnum):
    """Level of a log entry, in Python's words."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"
    CRITICAL = "CRITICAL"


class ConfigDataType(StrEnum):
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"
    OBJECT = "object"
    ARRAY = "array"


class AuditOperation(StrEnum):
    INSERT = "INSERT"
    UPDATE = "UPDATE"
    DELETE = "DELETE"
