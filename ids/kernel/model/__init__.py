"""The program in plain Python: what it would do with a packet where no kernel is available, or to hold it to.

In: frames and the time. Out: verdicts, and the entries of every table (`program.Model`).
"""
