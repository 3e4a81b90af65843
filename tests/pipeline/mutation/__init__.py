"""Damaged inputs of every format that users bring, through the stages that read them.

`mutators` damages bytes, `formats` and `raw_files` say what is read by what and what must hold afterwards, `__main__`
runs one mutation after the other, each in a process of its own with bounds of time and memory. A new format is an entry
in `formats.formats`; whatever a mutation finds is mended where all readers share it, with a unit test of its own.
"""
