"""What happens when: the tokens of a run on its devices, in simulated time."""
