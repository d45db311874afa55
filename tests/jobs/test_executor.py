import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError

import psutil
import pytest

from napari_cas.errors import CheckpointError, StorageError, WorkerDiedError, WorkerError
from napari_cas.jobs import LocalExecutor

WAIT = 60


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_runs_in_one_warm_niced_process_of_its_own(executor):
    first = executor.submit("os:getpid").result(WAIT)
    second = executor.submit("work_functions:pid").result(WAIT)
    assert first == second != os.getpid()
    assert executor.submit("work_functions:niceness").result(WAIT) >= min(os.nice(0) + 10, 19)


def test_neither_side_imports_torch(executor, run_script):
    assert not executor.submit("work_functions:loaded", "torch").result(WAIT)
    # In a process of its own: other tests may have imported torch into this one.
    script = run_script(
        """
        import sys
        from napari_cas.jobs import LocalExecutor
        with LocalExecutor() as executor:
            executor.submit("os:getpid").result(60)
        print("torch" in sys.modules)
        """,
    )
    assert script.communicate(timeout=WAIT)[0].strip() == "False"


def test_results_that_would_import_something_here_are_refused(executor):
    with pytest.raises(WorkerError, match="may not be loaded") as caught:
        executor.submit("work_functions:version_like_torchs").result(WAIT)
    assert "work_functions.Version" in caught.value.got
    assert "work_functions" not in sys.modules


def test_two_executors_do_not_share_or_end_each_others_worker(executor):
    with LocalExecutor() as other:
        theirs = other.submit("os:getpid").result(WAIT)
        ours = executor.submit("os:getpid").result(WAIT)
        assert ours != theirs
    assert gone(theirs)
    assert executor.submit("os:getpid").result(WAIT) == ours


def test_our_errors_travel_as_they_are(executor):
    with pytest.raises(StorageError) as caught:
        executor.submit("work_functions:refuse").result(WAIT)
    error = caught.value
    assert (error.expected, error.got, error.todo) == ("1 MB", "0 MB", "Make room.")


def test_an_error_class_of_the_workers_own_arrives_as_its_public_base(executor):
    with pytest.raises(CheckpointError, match="Wrong model") as caught:
        executor.submit("work_functions:refuse_foreign").result(WAIT)
    assert type(caught.value) is CheckpointError


def test_other_exceptions_become_worker_errors_with_the_remote_traceback(executor):
    with pytest.raises(WorkerError, match="ZeroDivisionError") as caught:
        executor.submit("work_functions:divide", 1, 0).result(WAIT)
    assert "in divide" in caught.value.details
    assert "return a / b" in caught.value.details


def test_out_of_memory_says_what_to_change(executor):
    with pytest.raises(WorkerError, match="ran out of memory") as caught:
        executor.submit("work_functions:exhaust").result(WAIT)
    assert "smaller" in caught.value.todo
    assert "CUDA out of memory" in caught.value.details


@pytest.mark.parametrize("name", ["no_such_module:f", "os:no_such_function", "os"])
def test_an_unknown_function_is_a_worker_error(executor, name):
    with pytest.raises(WorkerError):
        executor.submit(name).result(WAIT)


def test_arguments_that_cannot_be_sent_fail_their_job_only(executor):
    with pytest.raises(WorkerError, match="could not be sent"):
        executor.submit("builtins:print", threading.Lock()).result(WAIT)
    assert executor.submit("os:getpid").result(WAIT)


def test_death_in_a_job_fails_it_and_the_next_starts_a_new_worker(executor):
    first = executor.submit("os:getpid").result(WAIT)
    with pytest.raises(WorkerDiedError, match="died"):
        executor.submit("work_functions:die").result(WAIT)
    second = executor.submit("os:getpid").result(WAIT)
    assert second != first
    assert gone(first)


def test_death_between_jobs_goes_unnoticed(executor):
    first = executor.submit("os:getpid").result(WAIT)
    os.kill(first, signal.SIGKILL)
    # Until loky has noticed; before, the next job would fail with WorkerDiedError.
    wait_until(lambda: executor._pool._flags.broken is not None)
    assert gone(first)
    assert executor.submit("os:getpid").result(WAIT) != first


def test_a_growing_worker_is_not_taken_for_a_leaking_one(executor):
    first = executor.submit("os:getpid").result(WAIT)
    time.sleep(1.1)  # loky measures at most once a second
    assert executor.submit("work_functions:grow", 400).result(WAIT) == first
    assert executor.submit("os:getpid").result(WAIT) == first


def test_a_waiting_job_can_be_cancelled(executor, tmp_path):
    running = executor.submit("work_functions:sleep_and_tell", 1.5, str(tmp_path / "pid"))
    waiting = [executor.submit("os:getpid") for _ in range(6)]
    assert waiting[-1].cancel()
    with pytest.raises(CancelledError):
        waiting[-1].result(WAIT)
    assert running.result(WAIT) == waiting[0].result(WAIT)


def test_shutdown_in_the_middle_of_a_job_leaves_nothing(findable, tmp_path):
    executor = LocalExecutor()
    future = executor.submit("work_functions:sleep_and_tell", 60, str(tmp_path / "pid"))
    wait_until((tmp_path / "pid").exists)
    wait_until(lambda: (tmp_path / "pid").read_text())
    start = time.monotonic()
    executor.shutdown()
    assert time.monotonic() - start < 30  # half of what the job would take
    with pytest.raises(WorkerError):
        future.result(WAIT)
    assert gone(int((tmp_path / "pid").read_text()))


def test_an_unguarded_script_runs_once_and_ends_with_its_worker(run_script):
    script = run_script(
        """
        from napari_cas.jobs import LocalExecutor
        print("script runs")
        executor = LocalExecutor()
        print(executor.submit("os:getpid").result(60))
        """,
    )
    out, _ = script.communicate(timeout=WAIT)
    assert script.returncode == 0
    first, pid = out.split("\n")[:2]
    assert first == "script runs"
    wait_until(lambda: gone(int(pid)))


@pytest.mark.parametrize("busy", [False, True])
def test_kill_of_the_parent_leaves_no_orphan(run_script, busy):
    script = run_script(
        f"""
        import time
        from napari_cas.jobs import LocalExecutor
        executor = LocalExecutor()
        print(executor.submit("os:getpid").result(60), flush=True)
        if {busy}:
            executor.submit("time:sleep", 60)
        time.sleep(60)
        """,
    )
    pid = int(script.stdout.readline())
    family = psutil.Process(script.pid).children(recursive=True)
    assert pid in {child.pid for child in family}
    time.sleep(0.3)
    script.kill()
    script.wait()
    wait_until(lambda: all(gone(child.pid) for child in family), seconds=10)


def test_ctrl_c_while_the_worker_starts_leaves_it_alone(run_script):
    script = run_script(
        """
        import os, signal, time
        from napari_cas.jobs import LocalExecutor
        executor = LocalExecutor()
        try:
            job = executor.submit("os:getpid")
            os.killpg(0, signal.SIGINT)  # as a terminal does: its interpreter still starts
            time.sleep(60)
        except KeyboardInterrupt:
            print(job.result(60) > 0, flush=True)
        """,
        start_new_session=True,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert [text.strip() for text in script.communicate(timeout=WAIT)] == ["True", ""]


def test_ctrl_c_in_the_terminal_reaches_the_script_not_the_worker(run_script):
    script = run_script(
        """
        import time
        from napari_cas.jobs import LocalExecutor
        executor = LocalExecutor()
        pid = executor.submit("os:getpid").result(60)
        try:
            print(pid, flush=True)
            time.sleep(60)
        except KeyboardInterrupt:
            print(executor.submit("os:getpid").result(60) == pid, flush=True)
        """,
        start_new_session=True,
        # A suite started in the background has Ctrl-C ignored, and its children would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    script.stdout.readline()
    os.killpg(script.pid, signal.SIGINT)
    out, _ = script.communicate(timeout=WAIT)
    assert out.strip() == "True"
