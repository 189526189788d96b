"""What Python programs of a Baft fleet need."""
