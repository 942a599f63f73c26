"""From C source to a loaded program: compiled by BCC in a child process, put on the real maps, given to the verifier.

In: a source file under ``bpf/`` and maps. Out: descriptors of loaded programs (`loader.load`), the maps that they want
(`loader.open_maps`).
"""
