"""The sequence store and the small files around it: what every stage reads and writes.

`store` holds ragged sequences in one Arrow file, `prepared` opens a preparation's folder, `files` writes JSON and
whole folders so that nothing half-written has a final name, `text` is the one way from bytes to text. The ground
floor: it imports nothing of the project. A change here makes every stage run again; one that should change no format
leaves the md5s of `data/TASK/prepared` in dvc.lock.
"""
