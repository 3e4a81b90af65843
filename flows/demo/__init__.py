"""The page to try the registered models on: `python -m flows.demo`, `make demo`.

`models` loads versions by alias through MLflow, as any user does, and loads again when an alias moves; `page` puts the
tabs together, each of which is a file; `canvas` (with canvas.js) is where strokes come from and are drawn again;
`corrections` hands on what visitors correct. Gradio comes with `make demo`, and nothing else here needs it.
What a visitor sends is data: it is bounded before anybody reads it, shown as text, and never a path or an address.
"""
