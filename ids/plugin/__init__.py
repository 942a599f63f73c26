"""Plugins: hooks are called with what the stages found, matches come back; outputs get the events.

    hookspec    every hook, in the order of a packet's life: the public API
    host        `PluginHost`: loads plugins; calls their hooks one at a time, timed and guarded
    context     what a plugin gets when it starts: settings, counters, a place for state of flows
    beside      work of a reload, in a thread while packets go on
    session     a flagged flow as Scapy packets
    writer      `LineWriter`: a file written by a thread, for outputs

Detectors feed `ids.respond`; outputs receive its events. `ids.testing` plays traffic to a plugin.
"""

from ids.plugin.hookspec import hookimpl

__all__ = ["hookimpl"]
