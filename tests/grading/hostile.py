"""Submissions that mean harm, one by one, numbered as the design lists them.

Each is the code of ``batch_norm_forward`` or of a whole file. ``outcomes`` names what may come of
it; where that includes "passed", the answer is right as well and only its side effects are hostile.
"""

# ruff: noqa: E501 - one line of an attack is one line here

from __future__ import annotations

from dataclasses import dataclass
from textwrap import indent

RIGHT = "gamma * (x - x.mean(0)) / np.sqrt(x.var(0) + eps) + beta"


@dataclass(frozen=True)
class Attack:
    """One hostile submission.

    Args:
        number: in the list of the design.
        name: what it tries.
        code: of the file.
        outcomes: that may come of it.
    """

    number: int
    name: str
    code: str
    outcomes: tuple[str, ...] = ("failed", "error")

    def __str__(self) -> str:
        return f"{self.number}-{self.name.replace(' ', '-')}"


def answer(body: str, before: str = "") -> str:
    """Return a file whose answer has this body."""
    head = f"import numpy as np\n{before}\ndef batch_norm_forward(x, gamma, beta, eps=1e-5):\n"
    return head + indent(body.strip("\n"), "    ") + "\n"


def harm(body: str) -> str:
    """Return a right answer that does something first, and does not mind if it is refused."""
    inner = indent(body.strip("\n"), "    ")
    tried = f"try:\n{inner}\nexcept Exception:\n    pass\n"
    return answer(f"{tried}return {RIGHT}")


EXIT_AND_TIME = [
    Attack(
        1,
        "exit while loading",
        "import sys\nsys.exit(0)\n" + answer(f"return {RIGHT}"),
        ("passed",),
    ),
    Attack(2, "exit in the function", answer("import sys\nsys.exit(0)"), ("error",)),
    Attack(3, "exit at once", answer("import os\nos._exit(0)"), ("crashed",)),
    Attack(
        3,
        "exit at once while loading",
        "import os\nos._exit(0)\n" + answer(f"return {RIGHT}"),
        ("passed",),
    ),
    Attack(4, "raise KeyboardInterrupt", answer("raise KeyboardInterrupt"), ("error",)),
    Attack(4, "raise GeneratorExit", answer("raise GeneratorExit"), ("error",)),
    Attack(5, "endless loop", answer("while True: pass"), ("timeout",)),
    Attack(
        5,
        "endless loop while loading",
        answer(f"return {RIGHT}") + "while True: pass\n",
        ("passed",),
    ),
    Attack(
        6,
        "loop that swallows everything",
        answer("while True:\n    try:\n        while True: pass\n    except BaseException: pass"),
        ("timeout",),
    ),
    Attack(7, "sleep", answer("import time\ntime.sleep(1000)"), ("timeout",)),
    Attack(
        8,
        "catastrophic regular expression",
        answer("import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')"),
        ("timeout",),
    ),
    Attack(9, "deep recursion", answer("return batch_norm_forward(x, gamma, beta)"), ("error",)),
    Attack(
        9,
        "overflow of the C stack",
        answer(
            "import sys\n"
            "sys.setrecursionlimit(10**9)\n"
            "def f(): return max(1, key=lambda _: f()) if 0 else sorted([1], key=lambda _: f())\n"
            "return f()"
        ),
        ("crashed", "error", "memory", "timeout"),
    ),
    Attack(10, "segmentation fault", answer("import ctypes\nctypes.string_at(0)"), ("crashed",)),
    Attack(
        11,
        "alarm with handlers reset",
        answer(
            "import signal\n"
            "for n in range(1, 65):\n"
            "    try: signal.signal(n, signal.SIG_IGN)\n"
            "    except (OSError, ValueError): pass\n"
            "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n"
            "while True: pass"
        ),
        ("timeout",),
    ),
    Attack(
        11,
        "alarm to kill the probe",
        answer(f"import signal\nsignal.alarm(1)\nreturn {RIGHT}"),
        ("passed", "crashed"),
    ),
    Attack(
        12,
        "exit handler and threads",
        harm(
            "import atexit, threading, time\n"
            "atexit.register(time.sleep, 1000)\n"
            "threading.Thread(target=time.sleep, args=(1000,)).start()"
        ),
        ("passed",),
    ),
    Attack(
        13,
        "infinite generator",
        answer("def forever():\n    while True: yield 1.0\nreturn forever()"),
        ("failed", "error"),
    ),
]

MEMORY_AND_OUTPUT = [
    Attack(14, "fifty gigabytes", answer("return np.ones(50 * 2**30 // 8)"), ("memory",)),
    Attack(
        15, "slow leak", answer("kept = []\nwhile True: kept.append(np.ones(100_000))"), ("memory",)
    ),
    Attack(
        16,
        "200 MB on standard output",
        harm("import os\nfor _ in range(200): os.write(1, b'x' * 2**20); print('x' * 2**20)"),
        ("passed",),
    ),
    Attack(
        17,
        "gigabyte in an exception",
        answer("raise ValueError('x' * 300_000_000)"),
        ("error", "memory"),
    ),
    Attack(
        18,
        "text that exits",
        answer(
            "class Bad(Exception):\n"
            "    def __str__(self): import os; os._exit(0)\n"
            "    __repr__ = __str__\n"
            "raise Bad(Bad())"
        ),
        ("error", "crashed"),
    ),
    Attack(
        19, "oversized array", answer("return np.ones(40_000_000)"), ("error", "memory", "failed")
    ),
    Attack(
        20,
        "fill the disk",
        answer("n = 0\nwhile True:\n    open(f'f{n}', 'wb').write(b'x' * 2**20); n += 1"),
        ("error",),
    ),
    Attack(
        20,
        "hundred thousand files",
        answer(
            "import time\n"
            "stop = time.time() + 1\n"
            "n = 0\n"
            "while time.time() < stop:\n"
            "    open(f'f{n}', 'w').close(); n += 1\n"
            "return x"
        ),
        ("failed",),
    ),
    Attack(
        20,
        "deep folders",
        answer(
            "import os, time\n"
            "stop = time.time() + 1\n"
            "while time.time() < stop:\n"
            "    os.mkdir('d'); os.chdir('d')\n"
            "return x"
        ),
        ("failed",),
    ),
    Attack(
        21,
        "thread bomb",
        answer(
            "import threading, time\n"
            "while True: threading.Thread(target=time.sleep, args=(1000,)).start()"
        ),
        ("error",),
    ),
    Attack(22, "fork bomb", answer("import os\nwhile True: os.fork()"), ("error",)),
    Attack(
        22,
        "fork bomb by vfork and clone",
        answer(
            "import ctypes\n"
            "libc = ctypes.CDLL(None)\n"
            "if libc.vfork() >= 0 or libc.syscall(57) >= 0 or libc.syscall(56, 17, 0, 0, 0, 0) >= 0: raise SystemExit\n"
            "raise OSError"
        ),
        ("error",),
    ),
    Attack(
        22,
        "daemon",
        answer(
            "import os, sys, time\n"
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    if os.fork() == 0: time.sleep(1000)\n"
            "    os._exit(0)"
        ),
        ("error",),
    ),
    Attack(
        23,
        "thousands of descriptors",
        answer("import os\nwhile True: os.open('/dev/null', 0)"),
        ("error",),
    ),
]


def steal(expression: str, before: str = "") -> str:
    """Return an answer that puts what it finds into its error message."""
    return answer(f"raise ValueError('FOUND ' + repr({expression}))", before)


SECRETS = [
    Attack(
        24,
        "tests on disk",
        steal(
            "[p for p in __import__('glob').glob('/**/*', recursive=True) if 'judge' in p or 'batch_norm' in p and 'numpy' not in p]"
        ),
        ("error",),
    ),
    Attack(
        25,
        "the references by import",
        answer(
            "from normcourse.norms.batch_norm import batch_norm\n"
            "return batch_norm(x, gamma, beta, eps=eps)"
        ),
        ("failed", "error"),
    ),
    Attack(
        25,
        "the references by importlib",
        answer(
            "import importlib\n"
            "return importlib.import_module('normcourse.' + 'norms').batch_norm(x, gamma, beta, eps=eps)"
        ),
        ("error",),
    ),
    Attack(
        26,
        "other submissions",
        steal("__import__('os').listdir('/work') + __import__('os').listdir('/tmp')"),
        ("error",),
    ),
    Attack(
        27,
        "frames and objects",
        steal(
            "[o for o in __import__('gc').get_objects() if isinstance(o, dict) and ('expected' in o or 'reference' in o)][:1] or 'NOTHING'"
        ),
        ("error",),
    ),
    Attack(
        27,
        "frames of callers",
        answer(
            "import sys\n"
            "frame, names = sys._getframe(), []\n"
            "while frame:\n"
            "    names += list(frame.f_locals)\n"
            "    frame = frame.f_back\n"
            "raise ValueError('FOUND ' + repr([n for n in names if n in ('expected', 'reference', 'seed', 'cases', 'exercise', 'secret')]))"
        ),
        ("error",),
    ),
    Attack(
        28,
        "environment and arguments",
        steal("(dict(__import__('os').environ), __import__('sys').argv)"),
        ("error",),
    ),
    Attack(
        29,
        "processes by proc",
        steal(
            "open('/proc/1/environ').read() + open(f'/proc/{__import__(\"os\").getppid()}/maps').read()"
        ),
        ("error",),
    ),
    Attack(
        30,
        "leave a file for the next",
        harm(
            "import os\n"
            "for p in ('/tmp', '/dev/shm', '/scratch', '.', '/var/tmp'):\n"
            "    try: open(p + '/left', 'w').write('answer')\n"
            "    except OSError: pass"
        ),
        ("passed",),
    ),
    Attack(
        31,
        "guess from the global generator",
        answer("np.random.seed(0)\nreturn np.random.normal(size=x.shape)"),
        ("failed",),
    ),
    Attack(
        32,
        "network",
        answer("import socket\nsocket.create_connection(('127.0.0.1', 80), 1)"),
        ("error",),
    ),
    Attack(
        32,
        "name service",
        answer("import socket\nsocket.getaddrinfo('example.org', 80)"),
        ("error",),
    ),
    Attack(
        32,
        "abstract socket",
        answer("import socket\ns = socket.socket(socket.AF_UNIX)\ns.connect('\\0bus')"),
        ("error",),
    ),
    Attack(32, "socket pair", answer("import socket\nsocket.socketpair()"), ("error",)),
]

FORGING = [
    Attack(
        33,
        "patched comparisons",
        answer(
            "np.allclose = np.array_equal = lambda *a, **k: True\n"
            "np.testing.assert_allclose = lambda *a, **k: None\n"
            "np.abs = np.max = np.isfinite = lambda *a, **k: np.float64(0)\n"
            "return x"
        ),
    ),
    Attack(
        34,
        "array that equals everything",
        answer(
            "class Yes(np.ndarray):\n"
            "    def __array_function__(self, *a, **k): return True\n"
            "    def __array_ufunc__(self, *a, **k): return np.zeros(1)\n"
            "    def __eq__(self, o): return True\n"
            "    __hash__ = None\n"
            "return x.view(Yes)"
        ),
    ),
    Attack(
        35,
        "pickle bomb",
        answer(
            "class Bomb:\n"
            "    def __reduce__(self): import os; return os.system, ('touch /tmp/owned',)\n"
            "out = np.empty(x.shape, object)\n"
            "out[...] = Bomb()\n"
            "return out"
        ),
    ),
    Attack(
        36,
        "junk instead of a message",
        answer("import os\nos.write(4, b'junk' * 100)\nos._exit(0)"),
        ("protocol", "crashed"),
    ),
    Attack(
        36,
        "a header that lies",
        answer(
            "import os, json\n"
            "h = json.dumps({'a': 1}).encode()\n"
            "h = json.dumps(['dict', [['status', ['plain', 'returned']], ['value', ['array', '<f8', [400_000_000_000]]], ['error', ['dict', []]], ['output', ['plain', '']], ['changed', ['list', []]]]]).encode()\n"
            "m = b'NC1\\n' + len(h).to_bytes(8, 'little') + h\n"
            "os.write(4, len(m).to_bytes(8, 'little') + m)\n"
            "os._exit(0)"
        ),
        ("protocol",),
    ),
    Attack(
        36,
        "a length that lies",
        answer(
            "import os\nos.write(4, (2**62).to_bytes(8, 'little'))\nimport time\ntime.sleep(100)"
        ),
        ("protocol", "timeout"),
    ),
    Attack(
        36,
        "a truncated message",
        answer("import os\nos.write(4, (1000).to_bytes(8, 'little') + b'NC1')\nos._exit(0)"),
        ("crashed", "protocol"),
    ),
    Attack(
        36,
        "a message drop by drop",
        answer(
            "import os, time\n"
            "os.write(4, (1000).to_bytes(8, 'little'))\n"
            "while True:\n"
            "    os.write(4, b'N')\n"
            "    time.sleep(0.3)"
        ),
        ("timeout",),
    ),
    Attack(37, "wrong names", answer("return {'y': x, 'z': x, '': x}")),
    Attack(
        37,
        "a name twice",
        answer(
            "class Twice(dict):\n"
            "    def items(self): return [('y', 1), ('y', 2)]\n"
            "return Twice(y=x)"
        ),
    ),
    Attack(
        38,
        "two results",
        answer(
            "from normcourse import check\n"
            "import os\n"
            "m = b'NC1\\n' + (15).to_bytes(8, 'little') + b'[\"plain\", true]'\n"
            "for _ in range(3): os.write(4, len(m).to_bytes(8, 'little') + m)\n"
            "return x"
        ),
        ("protocol", "failed", "error"),
    ),
    Attack(
        38,
        "a forged pass",
        answer(
            "import os, json\n"
            "h = json.dumps(['dict', [['passed', ['plain', True]], ['status', ['plain', 'passed']], ['score', ['plain', 100]]]]).encode()\n"
            "m = b'NC1\\n' + len(h).to_bytes(8, 'little') + h\n"
            "os.write(4, len(m).to_bytes(8, 'little') + m)\n"
            "return x"
        ),
        ("protocol", "crashed"),
    ),
    Attack(
        39,
        "prints a pass",
        answer(
            "print('PASSED 100/100')\nopen('results.json', 'w').write('{\"score\": 100}')\nreturn x"
        ),
    ),
    Attack(
        40,
        "writes the parent's memory",
        answer("import os\nf = os.open(f'/proc/{os.getppid()}/mem', os.O_RDWR)"),
        ("error",),
    ),
    Attack(
        40,
        "traces the parent",
        answer(
            "import ctypes, os\n"
            "if ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0) == 0: raise SystemExit\n"
            "raise OSError"
        ),
        ("error",),
    ),
    Attack(
        40,
        "writes by process_vm_writev",
        answer(
            "import ctypes, os\n"
            "if ctypes.CDLL(None).syscall(311, os.getppid(), 0, 0, 0, 0, 0) >= 0: raise SystemExit\n"
            "raise OSError"
        ),
        ("error",),
    ),
    Attack(
        40,
        "has a pipe kill the warm process",
        answer(
            "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid())\n"
            "fcntl.fcntl(r, 10, 9)\nfcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)\n"
            "os.write(w, b'x')\nreturn x"
        ),
        ("error",),
    ),
    Attack(40, "kills everybody", answer("import os\nos.kill(-1, 9)"), ("error",)),
    Attack(
        40,
        "kills the warm process",
        answer("import os\nos.kill(os.getppid(), 9)\nos.kill(1, 9)"),
        ("error",),
    ),
    Attack(
        41,
        "patches the worker",
        answer(
            "import sys\n"
            "for m in list(sys.modules.values()):\n"
            "    for n in ('run_trial', 'encode', 'write_message', 'describe_error'):\n"
            "        if hasattr(m, n): setattr(m, n, lambda *a, **k: {'status': 'passed'})\n"
            "return x"
        ),
        ("failed", "error", "protocol", "crashed", "timeout"),
    ),
    Attack(
        41,
        "patches builtins",
        answer(
            "import builtins, json, pickle\n"
            "builtins.open = builtins.len = builtins.isinstance = lambda *a, **k: True\n"
            "json.dumps = pickle.loads = lambda *a, **k: 'true'\n"
            "return x"
        ),
        ("failed", "error", "protocol", "crashed", "timeout"),
    ),
    Attack(
        43,
        "anonymous program",
        answer("import os\nf = os.memfd_create('x')\nos.execv(f'/proc/self/fd/{f}', ['x'])"),
        ("error",),
    ),
    Attack(
        43,
        "a program of the system",
        answer("import subprocess\nsubprocess.run(['/bin/sh', '-c', 'id'], check=True)"),
        ("error",),
    ),
    Attack(
        43,
        "preloaded library",
        answer(
            "import os, sys\n"
            "os.environ['LD_PRELOAD'] = './x.so'\n"
            "os.execv(sys.executable, [sys.executable])"
        ),
        ("error",),
    ),
    Attack(
        44,
        "wrong from the third call on",
        answer(f"count.append(1)\nreturn {RIGHT} if len(count) < 3 else x", "count = []"),
    ),
    Attack(
        44,
        "right in odd calls only",
        answer(f"count.append(1)\nreturn {RIGHT} + (len(count) % 2 == 0)", "count = []"),
    ),
    Attack(
        44,
        "another result when repeated",
        answer(
            "key = x.tobytes() + gamma.tobytes()\n"
            "again = key in seen\n"
            "seen.add(key)\n"
            f"return {RIGHT} + again",
            "seen = set()",
        ),
    ),
    Attack(
        45,
        "the visible example by heart",
        answer("return np.array([[-1.342], [-0.447], [0.447], [1.342]]) * gamma + beta"),
    ),
    Attack(46, "not a number", answer("return np.full_like(x, np.nan)")),
    Attack(46, "infinity", answer("return np.full_like(x, np.inf)")),
    Attack(
        47,
        "inputs set to zero",
        answer("x[...] = 0\ngamma[...] = 0\nbeta[...] = 0\nreturn np.zeros_like(x)"),
    ),
    Attack(48, "the input itself", answer("return x")),
    Attack(
        48,
        "a broadcast array",
        answer("return np.broadcast_to(np.float64(0), (10**6,) * 10)"),
        ("failed", "error", "memory"),
    ),
    Attack(49, "half precision", answer(f"return ({RIGHT}).astype(np.float16)")),
    Attack(49, "complex", answer(f"return ({RIGHT}).astype(complex)")),
    Attack(49, "integers", answer(f"return ({RIGHT}).astype(int)")),
    Attack(49, "a number", answer("return np.float64(0)")),
    Attack(
        49, "a list of lists of lists", answer("a = []\nfor _ in range(5000): a = [a]\nreturn a")
    ),
    Attack(49, "a list that holds itself", answer("a = []\na.append(a)\nreturn a")),
    Attack(
        50,
        "the library's own layer",
        answer(
            "import torch\n"
            "F = torch.nn.functional\n"
            "t = torch.from_numpy\n"
            "return F.batch_norm(t(x), None, None, t(gamma), t(beta), True, 0.1, eps).numpy()"
        ),
    ),
    Attack(
        50,
        "another library",
        answer(
            "from sklearn.preprocessing import StandardScaler\n"
            "return StandardScaler().fit_transform(x) * gamma + beta"
        ),
    ),
    Attack(
        52,
        "HTML in an error",
        answer(
            "raise ValueError('<script>alert(1)</script><img src=x onerror=alert(1)> `](javascript:x)')"
        ),
        ("error",),
    ),
    Attack(
        53,
        "terminal codes",
        answer(
            "print('\\x1b[2J\\x1b]0;owned\\x07')\n"
            "raise ValueError('\\x1b[31m\\x1b]8;;http://x\\x07')"
        ),
        ("error",),
    ),
    Attack(58, "a wrong signature", "def batch_norm_forward(a):\n    return a\n", ("error",)),
    Attack(
        58,
        "keywords only",
        "def batch_norm_forward(*, x, gamma, beta, eps=1e-5):\n    return x\n",
        ("error",),
    ),
    Attack(
        59, "a class", "class batch_norm_forward:\n    def __init__(self, *a): pass\n", ("error",)
    ),
    Attack(
        59,
        "a class that lies about being one",
        "import numpy as np\n"
        "class Meta(type):\n"
        "    def __call__(cls, *a, **k): return np.zeros(3)\n"
        "    def __instancecheck__(cls, o): return True\n"
        "class batch_norm_forward(metaclass=Meta): pass\n",
        ("error",),
    ),
]

ATTACKS = [*EXIT_AND_TIME, *MEMORY_AND_OUTPUT, *SECRETS, *FORGING]

# Not hostile: these pass.
HARMLESS = {
    "61 warnings and prints": answer(
        f"import warnings\nwarnings.warn('careful')\nprint(x)\nnp.log(np.zeros(3))\nreturn {RIGHT}"
    ),
    "62 Welford": answer(
        "mean, m2 = np.zeros(x.shape[1]), np.zeros(x.shape[1])\n"
        "for n, row in enumerate(x.astype(float), 1):\n"
        "    d = row - mean\n"
        "    mean = mean + d / n\n"
        "    m2 = m2 + d * (row - mean)\n"
        "return (gamma * (x - mean) / np.sqrt(m2 / len(x) + eps) + beta).astype(x.dtype)"
    ),
    "62 einsum": answer(
        "n = x.shape[0]\n"
        "m = np.einsum('nd->d', x) / n\n"
        "c = x - m\n"
        "v = np.einsum('nd,nd->d', c, c) / n\n"
        "return c * (v + eps) ** -0.5 * gamma + beta"
    ),
    "62 a loop over features": answer(
        "out = np.empty_like(x)\n"
        "for j in range(x.shape[1]):\n"
        "    out[:, j] = gamma[j] * (x[:, j] - x[:, j].mean()) / (x[:, j].var() + eps) ** 0.5 + beta[j]\n"
        "return out"
    ),
    "63 slow but right": answer(f"import time\ntime.sleep(0.02)\nreturn {RIGHT}"),
    "65 rounding": answer(f"return ({RIGHT}) * (1 + 1e-13)"),
    "lambda": "import numpy as np\n"
    f"batch_norm_forward = lambda x, gamma, beta, eps=1e-5: {RIGHT}\n",
    "58 two of the same name, the last counts": answer("return x") + answer(f"return {RIGHT}"),
    "more parameters with defaults": "import numpy as np\n"
    "def batch_norm_forward(x, gamma, beta, eps=1e-5, axis=0):\n"
    f"    return {RIGHT}\n",
}
