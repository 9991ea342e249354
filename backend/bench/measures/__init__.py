"""What is measured, a module for each part of the system. A measure takes the bench and the number of the round."""
