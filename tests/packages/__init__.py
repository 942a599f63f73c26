"""The Debian package in clean roots: installed, started by systemd under all its limits, upgraded, removed.

    .venv/bin/python -m tests.packages [--suite bookworm] [--suite trixie]

It takes minutes, root, mmdebstrap and a mirror, so of all this the suite has only `test_page`. `machine` boots a root
in namespaces, `page` reads the walk-through off docs/service.md, `walk` checks what comes of it, `trials` has what it
leaves out, and `story` the order.
"""
