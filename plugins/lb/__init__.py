"""Services: stable addresses in front of changing backends."""
