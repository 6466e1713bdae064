"""`make bench`: what Plait costs, measured against its goals in one run."""
