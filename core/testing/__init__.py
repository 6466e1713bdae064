"""What plugin authors test with: packets by name, hooks as functions, labs."""
