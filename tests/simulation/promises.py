"""Every promise, checked against the exchange's truth after a run."""


from tests.simulation.world import World


async def check(world: World) -> None:
    return None
