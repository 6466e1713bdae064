"""Traffic that counts: an echo server and three clients that tell what became of each message.

A client's message is a line or a datagram; the server answers with its name, a space, and the
message. Every tool ends by itself or at SIGTERM, and then prints one JSON object.
"""
