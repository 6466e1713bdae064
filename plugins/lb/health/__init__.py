"""Health: checks of backends, and answers to who asks whether this node serves a Service."""
