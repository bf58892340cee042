"""Learning from regions that people reviewed: what they know, and nothing beyond it.

``reviewed`` reads them, ``windows`` cuts out what a network is shown, ``batches`` draws from
these, ``loop`` learns, ``refit`` fits the last layer, ``rehearsal`` keeps it from unlearning,
``prototypes`` adds some for cells that look like none of the old ones, ``gallery`` finds their
pictures, ``judge`` compares the model before and after.
"""
