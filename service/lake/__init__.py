"""The object store: listings, files, and the rules by which it tells of new objects."""
