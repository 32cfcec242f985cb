"""What an exchange raises, by the names ccxt has for it."""


class BaseError(Exception):
    pass


class NetworkError(BaseError):
    """Not known whether the exchange has acted."""


class RequestTimeout(NetworkError):
    pass


class ExchangeError(BaseError):
    """The exchange says no."""


class InvalidOrder(ExchangeError):
    pass


class OrderNotFound(InvalidOrder):
    pass


class DuplicateOrderId(InvalidOrder):
    pass


class InsufficientFunds(ExchangeError):
    pass
