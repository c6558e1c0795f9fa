"""Programs that some tests need; without one, those tests say so and are skipped."""

import shutil

import pytest

from portal.simulator import nanomdm
from tests.peers.proxy import NGINX

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="Debian's package openssl is not installed")


def _nanomdm_missing() -> str:
    if nanomdm.found_program() is None:
        return f"NanoMDM is missing: go install {nanomdm.MODULE}"
    return "" if NGINX else "Debian's package nginx-light is not installed"


needs_nanomdm = pytest.mark.skipif(bool(_nanomdm_missing()), reason=_nanomdm_missing())
"""NanoMDM, and nginx in front of it."""
