"""What users of a model say was right, appended to `feedback/TASK/` in the form that the task's own files have.

`Feedback` (`feedback.py`) is what a page calls. `day_files` holds corrections that are lines, one file a day;
`clip_files` those that are files of their own; `correction` is what a task's `corrections.py` makes of a record.
Nothing here decides a training before `source.also` names the folder. A change of a form leaves what was kept before as
it is: `source.also` must be able to read it for ever.
"""
