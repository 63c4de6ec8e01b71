"""A person at a terminal, who finishes an agent's request there."""

import os
import pty


def finish_on_terminal(command, environment, enrollment_id, key):
    """Types the key and agrees. Returns the exit code, and all that the terminal showed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command, [command, "secret", "enroll", enrollment_id], {"PATH": os.environ["PATH"], **environment})
    shown, answers = b"", [(b"(hidden): ", key), (b"[y/N] ", "y")]
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:
            part = b""
        if not part:
            break
        shown += part
        if answers and answers[0][0] in shown:
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()
