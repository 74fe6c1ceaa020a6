"""The milter protocol, version 6, as the mail server speaks it: frames, answers and changes to a message. Pure.

There is no standard: the form is that of libmilter and of Postfix. A filter is another program, and may be hostile or
broken: whatever it sends is checked, and what cannot be used makes the filter failed, never the message.
"""
