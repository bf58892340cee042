"""What the losses of the prototypes are good for, measured."""
