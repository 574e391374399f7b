"""The limits controller against simulated servers, in virtual time."""
