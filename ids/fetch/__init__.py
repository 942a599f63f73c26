"""Feeds that are kept up to date: fetched, verified, checked, put into force, and kept for when the next one is bad.

download.py   what a URL or a file holds, if it has changed; bounded in size and time
verify.py     digests and signatures
shelf.py      the last good version of each feed, and how its updates went
update.py     one update of one feed
"""
