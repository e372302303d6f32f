"""Tests of docs/failure.md's rows, each with its fault injected."""

from __future__ import annotations

from tests.support import testbed

#: They need hosts: scripts/test hosts.
collect_ignore = [] if testbed.is_here() else ["hosts"]
