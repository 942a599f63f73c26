"""The blocklist and the allow-list: written by the engine and by ``ids block`` and ``ids allow``, asked by the program.

In: networks, with who asked and until when. Out: entries of the maps (`blocklist.Blocklist`, `allowlist.AllowList`),
and whether somebody else changed them (`reconcile.Reconciler`). `tables` changes the maps of the blocklist, `claims`
says whose entry is in force, and `imports` has what comes as a whole list.
"""
