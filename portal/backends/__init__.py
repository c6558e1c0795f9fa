"""Device management backends behind one Protocol."""

from portal.backends.base import Backend
from portal.database import Database
from portal.models import PortalState
from portal.pki.uploads import topic_of
from portal.settings import Settings
from portal.vault import Vault

TOPIC = "push_topic"
"""Where the topic that was made at first start is kept."""


class NotSetUp(Exception):
    """The portal was never set up: run ``flask --app app setup``."""


def open_backend(settings: Settings, database: Database, vault: Vault) -> Backend:
    """The configured backend. Raises NotSetUp."""
    topic = topic_in_use(settings, database)
    if settings.mdm.backend == "nanomdm":
        from portal.backends.nanomdm import NanoMdmBackend

        return NanoMdmBackend(settings, topic)
    if settings.mdm.backend == "maas360":
        from portal.backends.maas360 import MaaS360Backend

        return MaaS360Backend(settings, database, vault)
    from portal.backends.embedded import EmbeddedBackend

    return EmbeddedBackend(settings, topic, database, vault)


def topic_in_use(settings: Settings, database: Database) -> str:
    """The push topic: the files', else the push certificate's, else the one made at first start. Raises NotSetUp."""
    mdm = settings.mdm
    topic = mdm.topic or (topic_of(mdm.push_identity) if mdm.push_identity else "")
    if topic:
        return topic
    with database.session() as reading:
        state = reading.get(PortalState, TOPIC)
    if state is None or state.value is None:
        raise NotSetUp
    return state.value
