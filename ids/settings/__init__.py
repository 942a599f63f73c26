"""Settings of what stands above the stages; each stage has its own beside it (``ids/<stage>/settings.py``).

They lie here, below all that reads them, so that the tree of them (`ids.config`) does too: plugins see it whole.

respond   whom to block, for how long, and who never; which events are written
outputs   syslog, webhook, mail
store     the database of alerts and changes
feeds     blocklists of others that are kept up to date
"""
