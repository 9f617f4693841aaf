"""System calls of a running broker that fail on one file: strace makes the kernel say so, until stop()."""
import subprocess


class FailingCalls:
    def __init__(self, broker, path, calls, error):
        pid = broker.process.popen.pid
        argv = ["strace", "-f", "-p", str(pid), "-P", str(path), "-o", str(broker.folder / "failing-calls"), "-e",
                f"trace={calls}", "-e", f"inject={calls}:error={error}"]
        self.log = broker.folder / "failing-calls"
        self.strace = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        line = self.strace.stderr.readline()
        assert "attached" in line, line

    def failed(self):
        """How many did so far."""
        return self.log.read_text(errors="replace").count("(INJECTED)") if self.log.exists() else 0

    def stop(self):
        self.strace.terminate()
        self.strace.wait()
        self.strace.stderr.close()
