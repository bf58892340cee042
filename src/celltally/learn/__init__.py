"""Learning: data set folders in, model folders out."""
