"""Network-namespace labs: whole networks on one machine, and traffic to try them with."""
