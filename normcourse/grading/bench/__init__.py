"""What grading costs: classes of several sizes, other graders beside it, a large class with poison.

``python -m normcourse.grading.bench --otter PYTHON --nbgrader PYTHON --large 10000 --record``
measures all of it on one machine, which has to be at rest. The other graders live in environments
of their own and are left out where no interpreter is named. Each time is that of the whole command:
start, sandbox, notebooks, reports. ``--record`` keeps what was measured, and ``python -m
normcourse.grading.bench.page`` writes the part of the book that shows it.
"""
