"""One description of a network, from which every quantity is derived.

`operators` are the leaves, `network` is the tree and its folds, `activations` says what training
keeps of each operator for the backward pass, and `families` turn a config.json into a tree.
"""
