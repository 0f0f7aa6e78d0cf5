"""The laboratory: synthetic studies and cohorts, training, validation and the recipe that comes out of it."""
