"""The Debian package in clean roots: installed, started by systemd under all its limits, upgraded, removed.

    .venv/bin/python -m tests.packages [--suite bookworm] [--suite trixie]

No part of the suite: it takes minutes, root, mmdebstrap and a mirror. `machine` boots a root in namespaces, `story` has
the steps of docs/service.md.
"""
