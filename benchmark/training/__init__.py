"""Training of one network: data, epochs, validation, and the state to resume from."""
