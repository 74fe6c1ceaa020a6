"""The command line: one file a verb.

stdout is data, everything else goes to stderr; a `hint:` line says what to do next. What a verb prints is made from the
same reasons that the log and the delivery status notifications carry.
"""
