"""`ids replay --report`: what a replay found, as one HTML page that needs nothing else.

timeline.py   packets over time, in a fixed number of bins whatever the capture spans
collect.py    what the page shows, collected while the captures go by; all of it bounded
figures.py    numbers as plots and tables of bytes
render.py     the page, by the template `page.html`, which escapes all that it is given
"""
