"""llama.cpp as Debian sid packages it, as the peer of bench/model/model.py: its root, the shapes
that both run, and its figures. bench/peer/ has the tools, which stay as they came.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lines import ROOT, say  # noqa: E402

HOME = Path(os.environ.get("CONCLAVE_PEER_HOME", ROOT / "build/bench/peer"))
DEBIAN = HOME / "root"
TOOLS = HOME / "shared/peer"
VNNI = "AVX512_VNNI"

# Its threads wait for each other by spinning, which on cores that others want too has cost it nine
# tenths of its speed and more. Asleep they wait well on idle and on busy cores.
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}


class PeerError(Exception):
    """There is no peer to measure here; the words say why."""


def run_tool(*args, log):
    """bench/peer/llama_bench, from a copy that has the tokenizer where make_shapes.py looks."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    bard = TOOLS.parent / "models/bard"
    bard.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "models/bard/tokenizer.json", bard)
    for path in (ROOT / "bench/peer").iterdir():
        shutil.copy(path, TOOLS)
    with open(log, "a", encoding="utf-8") as errors:
        result = subprocess.run([str(TOOLS / "llama_bench"), *map(str, args)], text=True,
                                stdout=subprocess.PIPE, stderr=errors, env=ENVIRONMENT,
                                check=False)
    if result.returncode != 0:
        raise PeerError(f"llama_bench {args[0]} failed; {log} says why")
    return result.stdout


def check_can_set_up():
    if os.geteuid() != 0:
        raise PeerError("only root can make and enter a Debian root")
    if not DEBIAN.exists() and shutil.which("mmdebstrap") is None:
        raise PeerError("mmdebstrap is not installed, and there is no Debian root yet")


def make_shape(shape):
    """The folder with hf/ and q8_0.gguf of `shape`; made once, some GB."""
    folder = HOME / shape
    done = folder / "done"
    if done.exists():
        return folder
    check_can_set_up()
    HOME.mkdir(parents=True, exist_ok=True)
    log = HOME / "setup.log"
    if not (DEBIAN / "usr/bin/llama-bench").exists():
        say(f"making a Debian sid root in {DEBIAN} (about 1 GB)")
        run_tool("setup", DEBIAN, log=log)
    say(f"making {shape} in {folder} (minutes)")
    folder.mkdir(parents=True, exist_ok=True)
    run_tool("make", DEBIAN, shape, folder, log=log)
    done.touch()
    return folder


def backend_of(log_text):
    """The library of kernels that llama.cpp says it has chosen, and what it says of the CPU."""
    return [line.strip() for line in log_text.splitlines()
            if "CPU backend" in line or "system_info" in line]


def check_instructions(log_text, cpuinfo):
    """What a peer that does not use the machine's int8 products does would be no measure."""
    if VNNI.lower() not in cpuinfo:
        return
    if not any(f"{VNNI} = 1" in line for line in backend_of(log_text)):
        raise PeerError(f"this machine has {VNNI}, and the peer's log does not name it")


class Peer:
    """Measures tests of one shape; refuses a peer that runs below what the machine can."""

    def __init__(self, shape):
        check_can_set_up()
        self.folder = make_shape(shape)
        self.log = self.folder / "llama_bench.log"
        self.log.unlink(missing_ok=True)
        log_text = self._first_words()
        for line in backend_of(log_text):
            say(f"peer: {line}")
        check_instructions(log_text, Path("/proc/cpuinfo").read_text(encoding="utf-8"))

    def _first_words(self):
        """What it says of itself when it generates one token. llama_bench has no command for that,
        so this enters the root itself."""
        script = ('mkdir -p "$0/data"; mount --rbind /proc "$0/proc"; mount --rbind /dev "$0/dev"; '
                  'mount --bind "$1" "$0/data"; exec chroot "$0" llama-completion '
                  "-m /data/q8_0.gguf -t 2 -n 1 -p a -no-cnv")
        result = subprocess.run(["unshare", "--mount", "bash", "-c", script, DEBIAN, self.folder],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                errors="replace", timeout=300, check=False)
        return result.stderr + result.stdout

    def tokens_per_second(self, prefill=0, generated=0, depth=0):
        """Of one run, as llama-bench counts."""
        out = run_tool("run", DEBIAN, self.folder, "-p", prefill, "-n", generated, "-d", depth,
                       "-fa", 1, "-r", 1, log=self.log)
        rows = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
        if len(rows) != 1:
            raise PeerError(f"llama-bench printed {len(rows)} results; {self.log}")
        return rows[0]["avg_ts"]
