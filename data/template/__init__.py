"""A converter to copy for one's own robot; works as it is on episodes saved as .npz files.

    python -m data.template RECORDINGS --robot my_robot --name my_task --out datasets

docs/data.md goes through it step by step.
"""
