"""What finds among labels: vector indexes behind one protocol, an index of words, and the folder that they lie in."""
