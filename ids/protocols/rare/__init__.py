"""Protocols of the second line: a module each says what their messages say; `ids.protocols.dialogue` has the rest.

Of each: how it is recognised, its bounds, what rules test, what EVE logs. `ber` reads what ASN.1 encodes.
"""
