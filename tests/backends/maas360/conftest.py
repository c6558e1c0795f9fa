from collections.abc import Callable, Iterator

import pytest

from tests.backends.maas360.tenancy import Tenancy


@pytest.fixture
def tenancies(make_app, clock) -> Iterator[Callable[..., Tenancy]]:
    """Makes portals with a tenant each; ``settings`` are those of MaaS360."""
    made: list[Tenancy] = []

    def make(**settings: object) -> Tenancy:
        made.append(Tenancy(make_app, clock, maas360=settings))
        return made[-1]

    yield make
    for each in made:
        each.worker.database.engine.dispose()


@pytest.fixture
def tenancy(tenancies) -> Tenancy:
    return tenancies()
