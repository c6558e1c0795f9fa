"""An invited person and an iPhone with iOS 18."""

import pytest

from portal.simulator.settings_app import SettingsApp
from tests.factories import phone


@pytest.fixture
def invitation(company):
    return company.invite(company.person())


@pytest.fixture
def settings_app(app):
    """The Settings app of an iPhone with iOS 18."""
    return SettingsApp(phone(app, ios=18))
