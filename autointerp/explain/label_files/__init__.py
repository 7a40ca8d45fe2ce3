"""Files of labels that somebody else wrote, of any usual kind, to labels with the features they are of."""
