"""The toy's network, and its batches.

A recurrent layer over the numbers and a linear layer on its last state: the smallest classifier that trains.
"""
