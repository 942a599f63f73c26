"""What outlives the engine and a reboot, in files beside the memory: lists, penalties, comments.

files      writing a file whole or not at all, and moving a damaged one aside
lists      blocklist claims and the allow-list
penalties  who was blocked before, how often, until when it counts
comments   what operators wrote beside their blocks
keeper     saves them while an engine runs, off the packets' way
"""
