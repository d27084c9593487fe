"""`run_together` of N Python programs: `N PROGRAM`; each finds its number in NUMBER."""

import os
import sys

from launch import processes

if __name__ == "__main__":
    processes.GRACE = 0.5
    count, program = int(sys.argv[1]), sys.argv[2]
    environments = [os.environ | {"NUMBER": str(number)} for number in range(count)]
    sys.exit(processes.run_together([[sys.executable, "-u", "-c", program]] * count, environments))
