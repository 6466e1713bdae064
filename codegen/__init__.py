"""Plan to C, C to objects, and what an object says of itself (BTF)."""
