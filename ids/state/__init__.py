"""What outlives the engine and a reboot, in files beside the memory: lists, penalties, comments.

files      where they lie; one at a time changes them, and a damaged one is moved aside
lists      blocklist claims and the allow-list
penalties  who was blocked before, how often, until when it counts
comments   what operators wrote beside their blocks
keeper     saves them while an engine runs, off the packets' way
"""
