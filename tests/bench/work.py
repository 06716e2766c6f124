"""work.py - runs jobs.py in processes of their own, so that what they import and hold open
is nobody else's, and all of them start at the same moment."""
import json
import os
import subprocess
import sys

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "jobs.py")


def start(name, args, env):
    process = subprocess.Popen(
        [sys.executable, JOBS, name, json.dumps(args)], text=True, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **(env or {})})
    if process.stdout.readline() != "ready\n":
        raise RuntimeError("%s: %s" % (name, process.stderr.read()[-600:]))
    return process


def run_all(name, many, env=None, secs=300):
    """One job for each of many; their results."""
    started = [start(name, args, env) for args in many]
    try:
        for process in started:
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=secs) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    for out, err in answers:
        if not out:
            raise RuntimeError("%s: %s" % (name, err[-600:]))
    return [json.loads(out) for out, _ in answers]


def run(name, env=None, **args):
    return run_all(name, [args], env)[0]
