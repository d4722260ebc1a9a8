"""One network in training: data, epochs, validation, and the state to resume from."""
