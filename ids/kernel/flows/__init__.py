"""The program's flows: what it counted of each, and the verdicts of user space on them.

In: `ids.types.Flow`. Out: its counts (`entries.FlowEntries`), and its verdict in the program (`orders.FlowOrders`).
"""
