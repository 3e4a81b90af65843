"""From the toy's raw file to the sequence store.

Each line is a list of numbers; of four lines the first is for the test, the second for validation. What is not JSON
is rejected.
"""
