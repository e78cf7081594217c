"""What the API and the command line give out: the same names and numbers in both."""
