"""The smaller protocols: a module each says what their messages say; `ids.protocols.dialogue` has the rest.

Of each: how it is recognised, its bounds, what rules test, what EVE logs. A protocol that needs more than a module or
two has a package beside this one.
"""
