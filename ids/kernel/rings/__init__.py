"""What the program shows: a pair of rings for each worker, and one for events.

In: the maps of rings. Out: `ids.types.PacketBatch` (`reader.RingReader`), budgets that began to refuse
(`limits.Limit`), who inspects which flow (`workers.worker_of`), and whose packets found no room (`shares.missed_by`).
"""
