"""The topics: each a module with one function per peer, named as the peer.

Such a function yields pairs of a case's name and a function to be timed.  Peers that
do a case in several styles yield it for the faster one, or under names of their own.
"""

TOPICS = {
    "xor_step": "one eager training step of the XOR nets, graph rebuilt each time",
    "overhead": "a chain of 1000 recorded 5x5 ops, forward and backward; per op",
    "gemm": "matrix products, float32",
    "activations": "activations on float32, forward and forward + backward",
}
