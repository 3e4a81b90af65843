"""The sequence store and the small files around it: what every stage reads and writes.

`store` holds ragged sequences in one Arrow file, `prepared` opens a preparation's folder, `files` writes JSON and whole
folders so that nothing half-written has a final name. The ground floor: it imports nothing of the project. A change of
a format here makes every stage run again, and the bytes of `data/TASK/prepared` must stay what they are.
"""
