"""Maps as such: opened, pinned and read as arrays (`table.Map`), and what the settings say of their sizes and contents.

In: descriptors and pins, settings. Out: `table.Map`; the verdict counters by name (`counts`); the program's
configuration, filled in (`configuration`). What entries mean, `ids.kernel.lists` and `ids.kernel.flows` know.
"""
