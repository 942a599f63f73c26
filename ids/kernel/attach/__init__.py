"""The ways on to an interface that are not a plain XDP link: libxdp's dispatcher, and what leaves the host.

In: loaded programs and interfaces' names. Out: attachments that outlive the engine, each with its pin: as a member of a
dispatcher (`dispatcher`, `libxdp`), at the egress (`egress`) by TCX (`tcx`) or a clsact filter (`clsact`).
"""
