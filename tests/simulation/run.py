"""One simulation: a seed, a database, two instances that compete, and everything that can go wrong."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial

from sqlalchemy import URL

from tests.simulation.bot import take
from tests.simulation.chance import weighted
from tests.simulation.checking import check
from tests.simulation.clock import told_by
from tests.simulation.instance import Instance
from tests.simulation.listening import poll
from tests.simulation.recovering import agree
from tests.simulation.strategies import STRATEGIES, Alert
from tests.simulation.world import World, a_world

MINUTE = timedelta(minutes=1)
TICKS = 40
#: Ticks after the faults: all that was on its way arrives.
CALM_TICKS = 6


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a seed. Two runs of it have the same fingerprint."""

    seed: int
    fingerprint: str
    violations: Sequence[str]
    trace: Sequence[str]
    counts: Counter[str]


async def simulate(seed: int, url: URL, owner_url: URL, *, ticks: int = TICKS) -> Outcome:
    """Live through *seed* in the empty database at *url*, then check every promise."""
    async with a_world(seed, url, owner_url) as world:
        with told_by(world.agenda):
            instances = [Instance(world, "A"), Instance(world, "B")]
            try:
                await _trade(world, instances, ticks)
                await _settle(world, instances)
                await check(world)
            finally:
                for instance in instances:
                    await instance.close()
        record = world.record
        return Outcome(
            seed=seed,
            fingerprint=record.fingerprint(),
            violations=tuple(record.violations),
            trace=tuple(record.lines),
            counts=record.counts + Counter(order=len(world.venue.orders), fill=len(world.venue.fills)),
        )


async def _trade(world: World, instances: Sequence[Instance], ticks: int) -> None:
    for instance in instances:
        await instance.start()
    for minute in range(1, ticks + 1):
        world.agenda.after(minute * MINUTE, partial(_tick, world, instances))
    _plan_halt(world, ticks)
    _plan_outsiders(world, ticks)
    for instance in instances:
        _plan_disconnections(world, instance, ticks)
        _plan_absences(world, instance, ticks)
    await world.agenda.run_until(world.agenda.now + ticks * MINUTE)


async def _tick(world: World, instances: Sequence[Instance]) -> None:
    world.market.tick()
    world.venue.tick()
    for strategy in STRATEGIES:
        for alert in strategy.alerts(world.market):
            for instance in instances:
                _send(world, instance, alert)
    for number, instance in enumerate(instances):
        await instance.live_on()
        if world.market.ticks % 4 == 2 * number:
            await instance.do("polling", poll)


def _send(world: World, instance: Instance, alert: Alert) -> None:
    """Send an alert: at once, late, or twice; one may overtake the other."""
    generator = world.chance.of("alerts", instance.name)
    for _ in range(weighted(generator, [(1, 75), (2, 15), (0, 10)])):
        delay = weighted(generator, [(0, 60), (30, 25), (150, 15)])
        deliver = partial(instance.do, f"alert {alert.name}", lambda desk: take(desk, alert))
        world.agenda.after(timedelta(seconds=delay), deliver)


def _plan_disconnections(world: World, instance: Instance, ticks: int) -> None:
    generator = world.chance.of("disconnections", instance.name)

    async def disconnect() -> None:
        world.record.note(instance.name, "stream disconnected")
        instance.feed.disconnect()

    async def connect() -> None:
        world.record.note(instance.name, "stream connected")
        instance.listen()

    for _ in range(generator.randint(0, 3)):
        begin, length = generator.randint(1, ticks), generator.randint(1, 10)
        world.agenda.after(begin * MINUTE, disconnect)
        world.agenda.after((begin + length) * MINUTE, connect)


def _plan_halt(world: World, ticks: int) -> None:
    """Now and then somebody stops the account for a while."""
    generator = world.chance.of("halt")
    begin, length = generator.randint(1, 2 * ticks), generator.randint(1, 8)
    if begin < ticks:
        world.agenda.after(begin * MINUTE, world.halt)
        world.agenda.after((begin + length) * MINUTE, world.resume)


def _plan_absences(world: World, instance: Instance, ticks: int) -> None:
    generator = world.chance.of("absences", instance.name)
    for _ in range(generator.randint(0, 2)):
        begin, length = generator.randint(1, ticks), generator.randint(1, 6)
        world.agenda.after(begin * MINUTE, instance.go_away)
        world.agenda.after((begin + length) * MINUTE, instance.come_back)


def _plan_outsiders(world: World, ticks: int) -> None:
    """Somebody trades at the exchange by hand."""
    generator = world.chance.of("outsiders")
    for _ in range(generator.randint(0, 2)):
        listing, side = generator.choice(world.market.listings), generator.choice(("buy", "sell"))
        amount = listing.quantity_step * generator.randint(1, 1_000)

        async def trade(symbol: str = listing.symbol, side: str = side, amount: Decimal = amount) -> None:
            order = world.venue.place(symbol, "market", side, amount)
            world.record.note("outsider", side, amount, symbol, order.id)

        world.agenda.after(generator.randint(1, ticks) * MINUTE, trade)


async def _settle(world: World, instances: Sequence[Instance]) -> None:
    """The faults are over: everybody is there again, and asks."""
    world.record.note("world", "calms down")
    await world.resume()
    world.venue.is_calm = True
    for instance in instances:
        await instance.calm()
    for _ in range(CALM_TICKS):
        world.venue.tick()
        await world.agenda.run_until(world.agenda.now + MINUTE)
        for instance in instances:
            await instance.do("polling", poll)
            await instance.live_on()
    await world.agenda.run_until(world.agenda.now + CALM_TICKS * MINUTE)
    for instance in instances:
        await instance.do("reconciling", agree)
