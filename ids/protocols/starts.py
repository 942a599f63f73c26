"""What the first lines of several protocols have in common."""

NO_REQUEST = rb"(?![^\r\n]*[ \t]HTTP/\d)[^\r\n]*[\r\n]"
"""The rest of a line that is no request of HTTP: ``HELO / HTTP/1.1`` is one to many servers, whatever its method."""
