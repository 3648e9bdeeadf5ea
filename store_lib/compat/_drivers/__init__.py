"""The names of the peer's driver modules; each holds the class of the stores of that type, and no more."""
