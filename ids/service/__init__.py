"""The engine as a service of its host: what systemd is shown and shows, and the files that make it one.

notify      readiness, signs of life, reloads and the end, over systemd's socket
logs        the log, in the form of whoever reads it
privileges  capabilities that are given up
texts       the units and the logrotate snippet, to be filled in
unit        what in them depends on the host, and where they lie
install     putting them in place, taking them away, and their state
first       the file of settings that `ids init` writes
"""
