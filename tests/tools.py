"""Programs that some tests need; without one, those tests say so and are skipped."""

import shutil

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="Debian's package openssl is not installed")
