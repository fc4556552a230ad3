"""The jobs of the server: claiming IDs, running on a bounded pool, ending, finding."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from infra.local.bigquery.api import INTERNAL
from infra.local.bigquery.catalog import Catalog, now_ms
from infra.local.bigquery.errors import ApiError
from infra.local.bigquery.faults import Faults
from infra.local.bigquery.job import Job
from infra.local.bigquery.journal import Journal
from infra.local.bigquery.limits import MORE, Limits

LOG = logging.getLogger(__name__)
WORKERS = 16
PATIENT_WORKERS = 256
RECENT_JOBS = 5_000
RUN_FAULT = "jobs.run"  # no method of the API: what a job meets once it runs, and ends with

Work = Callable[[Job], None]


class Jobs:
    """All jobs; an ID is used at most once, over restarts too."""

    def __init__(
        self, catalog: Catalog, journal: Journal, faults: Faults, limits: Limits | None = None
    ) -> None:
        self._journal = journal
        self._faults = faults
        self._limits = limits or Limits()
        self._durable = catalog.storage.persistent
        self._lock = threading.Lock()
        self._running: dict[tuple[str, str], Job] = {}
        self._recent: OrderedDict[tuple[str, str], Job] = OrderedDict()
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="job")
        # Where limits are enforced, jobs wait in lines: those that do leave their place to others.
        self._patient = ThreadPoolExecutor(PATIENT_WORKERS, thread_name_prefix="patient-job")
        self._workers = threading.BoundedSemaphore(WORKERS)
        self._end_interrupted(catalog)

    def _end_interrupted(self, catalog: Catalog) -> None:
        """End the jobs that the last process left: well if their effect was committed."""
        for project, job_id, entry in self._journal.unfinished():
            job = Job.from_entry(project, job_id, entry)
            mark = catalog.marks.get(job_id)
            job.state = "DONE"
            job.started = job.started or job.created
            job.ended = now_ms()
            if mark is None:
                error = ApiError.backend_error(
                    "The server stopped before the job had ended. Retry it under a new ID."
                )
                job.errors = error.protos()
            else:
                job.statistics.setdefault(job.kind, {}).update(mark)
            self._journal.finish(project, job_id, job.to_entry())
        catalog.forget_marks()

    def start(self, job: Job, work: Work) -> None:
        """Claim the job's ID and run `work` on the pool; `job.completed` tells the end.

        Raises:
            ApiError: 409 duplicate when the ID was used before; nothing runs then.
        """
        self._refuse_long_queue(job)
        entry = job.to_entry() if self._durable else {"created": job.created}
        with self._lock:
            won = self._journal.claim(job.project, job.job_id, entry)
            if won:
                self._running[job.project, job.job_id] = job
        if not won:
            known = self.find(job.project, job.job_id)
            raise ApiError.duplicate("Job", known.key if known else job.key)
        if self._limits.enforced:
            self._patient.submit(self._run_in_turn, job, work)
        else:
            self._pool.submit(self._run, job, work)

    def _refuse_long_queue(self, job: Job) -> None:
        """Too many queries wait already.

        Raises:
            ApiError: 403 quotaExceeded; the job's ID is not used then.
        """
        if not self._limits.enforced or job.kind != "query":
            return
        if len(self._running) - WORKERS >= self._limits.number("queued_jobs"):
            raise ApiError(
                "quotaExceeded",
                "Quota exceeded: Your project and region exceeded quota for max number of jobs"
                f" that can be queued per project. {MORE}",
            )

    def _run_in_turn(self, job: Job, work: Work) -> None:
        job.pending = lambda: self._pending(job)
        with self._workers:
            self._run(job, work)

    @contextmanager
    def _pending(self, job: Job) -> Iterator[None]:
        """The job waits for something else than a worker, and gives its own away meanwhile."""
        job.state = "PENDING"
        self._workers.release()
        try:
            yield
        finally:
            self._workers.acquire()
            job.state = "RUNNING"

    def _run(self, job: Job, work: Work) -> None:
        job.started = now_ms()
        job.state = "RUNNING"
        try:
            self._meet_fault(job)
            _refuse_cancelled(job)
            work(job)
        except ApiError as error:
            job.errors = error.protos()
        except Exception:
            LOG.exception("job %s failed", job.key)
            job.errors = ApiError.internal_error(INTERNAL).protos()
        finally:
            self._end(job)

    def _meet_fault(self, job: Job) -> None:
        fault = self._faults.take(RUN_FAULT, job.job_id)
        if fault is None:
            return
        job.cancelled.wait(fault.delay_seconds)
        error = fault.error()
        if error is not None:
            raise error

    def _end(self, job: Job) -> None:
        job.ended = max(now_ms(), job.started or 0)
        job.state = "DONE"
        key = (job.project, job.job_id)
        if self._durable:
            self._journal.finish(*key, job.to_entry())
        with self._lock:
            self._remember(job)
            self._running.pop(key, None)
        job.completed.set_result(None)

    def _remember(self, job: Job) -> None:
        """Keep a finished job at hand; where nothing is durable, the journal gets it afterwards."""
        self._recent[job.project, job.job_id] = job
        while len(self._recent) > RECENT_JOBS:
            key, oldest = next(iter(self._recent.items()))
            if not self._durable:
                self._journal.finish(*key, oldest.to_entry())
            del self._recent[key]

    def add_finished(self, job: Job) -> None:
        """Record a job that has run as a part of another, such as a script's statement."""
        job.state = "DONE"
        self._journal.claim(job.project, job.job_id, job.to_entry(), done=True)
        with self._lock:
            self._remember(job)
        job.completed.set_result(None)

    def find(self, project: str, job_id: str, location: str | None = None) -> Job | None:
        """The job, None when there is none in that location."""
        key = (project, job_id)
        with self._lock:
            job = self._running.get(key) or self._recent.get(key)
        if job is None:
            entry = self._journal.read(project, job_id)
            job = None if entry is None else Job.from_entry(project, job_id, entry)
        if job is None or (location and location.casefold() != job.location.casefold()):
            return None
        return job

    def get(self, project: str, job_id: str, location: str | None = None) -> Job:
        """The job.

        Raises:
            ApiError: 404 notFound.
        """
        job = self.find(project, job_id, location)
        if job is None:
            name = f"{project}:{location}.{job_id}" if location else f"{project}:{job_id}"
            raise ApiError.not_found("Job", name)
        return job

    def recent(
        self, project: str, *, parent: str | None, states: set[str], since: int, until: int
    ) -> list[str]:
        """IDs of a project's jobs (of a script's statements with `parent`), newest first."""
        with self._lock:
            at_hand = {**self._recent, **self._running}
        found = []
        for job_id, done in self._journal.recent(project, parent, since, until):
            job = at_hand.get((project, job_id))
            state = job.state if job is not None else "DONE" if done else "PENDING"
            if not states or state in states:
                found.append(job_id)
        return found

    def newest(self, project: str, limit: int) -> list[Job]:
        """The jobs of a project that were inserted last, statements of scripts too."""
        found = (self.find(project, job_id) for job_id in self._journal.newest(project, limit))
        return [job for job in found if job is not None]

    def cancel(self, job: Job) -> None:
        """Ask a job to stop; one that has ended stays as it is."""
        if not job.done:
            job.cancelled.set()

    def delete(self, job: Job) -> None:
        """Forget a finished job's metadata, its statements' too; the ID stays used.

        Raises:
            ApiError: 400 while it runs.
        """
        if not job.done:
            raise ApiError.invalid(f"Cannot delete job {job.key} while it is running")
        children = self.recent(job.project, parent=job.job_id, states=set(), since=0, until=1 << 62)
        gone = [job.job_id, *children]
        self._journal.forget(job.project, gone)
        with self._lock:
            for job_id in gone:
                self._recent.pop((job.project, job_id), None)

    def close(self, seconds: float) -> None:
        """Stop what runs; waits at most `seconds` for it."""
        with self._lock:
            running = list(self._running.values())
        for job in running:
            job.cancelled.set()
        for pool in (self._pool, self._patient):
            pool.shutdown(wait=False, cancel_futures=True)
        stopper = threading.Thread(target=self._await_workers, daemon=True)
        stopper.start()
        stopper.join(seconds)
        self._journal.close()

    def _await_workers(self) -> None:
        self._pool.shutdown()
        self._patient.shutdown()


def _refuse_cancelled(job: Job) -> None:
    if job.cancelled.is_set():
        raise ApiError.stopped()
