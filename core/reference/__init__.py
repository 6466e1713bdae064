"""The reference pages of docs/reference/, printed from the code that they are about."""
