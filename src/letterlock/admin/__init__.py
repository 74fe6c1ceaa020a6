"""The control socket: how the command line speaks to the running server.

A UNIX socket in the queue directory, for its owner only. One JSON object a line, asked and answered in turn; sizes are
bounded. The server alone has the queue's file open: every other program asks the server. Answers and
orders come in pages, so that neither a million messages nor an order to all of them holds deliveries up.
"""
