//! Jobs that several threads share.
//!
//! Making a file costs time in the kernel mostly, so that several threads are faster than one. A
//! caller that needs the results waits for them with [`WorkerPool::drain`].

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, available_parallelism};

use super::error::Failure;

const MAX_THREADS: usize = 4;

/// A piece of work. Jobs are run in no particular order.
pub(super) trait Job: Send {
    /// The number of jobs in a batch. Waking a thread costs as much as running one job.
    const BATCH: usize;
    /// The most batches that wait for a thread.
    const MAX_BATCHES: usize;
    /// Runs the job.
    fn run(&self) -> Result<(), Failure>;
}

/// The batches that wait for a thread.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    /// Signalled when a batch was added, or the queue closed.
    work: Condvar,
    /// Signalled when a batch was run.
    done: Condvar,
}

struct State<J> {
    waiting: VecDeque<Vec<J>>,
    running: usize,
    is_closed: bool,
    failure: Option<Failure>,
}

impl<J> Default for Queue<J> {
    fn default() -> Queue<J> {
        Queue {
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                running: 0,
                is_closed: false,
                failure: None,
            }),
            work: Condvar::new(),
            done: Condvar::new(),
        }
    }
}

impl<J> Queue<J> {
    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State<J>>) -> MutexGuard<'a, State<J>> {
        condition
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<J: Job> Queue<J> {
    fn run(&self) {
        let mut state = self.state();
        loop {
            let Some(batch) = state.waiting.pop_front() else {
                if state.is_closed {
                    return;
                }
                state = Queue::wait(&self.work, state);
                continue;
            };
            state.running += 1;
            // After a failure, the jobs that wait are dropped.
            let is_wanted = state.failure.is_none();
            drop(state);
            let result = if is_wanted {
                batch.iter().try_for_each(J::run)
            } else {
                Ok(())
            };
            drop(batch);
            state = self.state();
            state.running -= 1;
            if let Err(failure) = result {
                state.failure.get_or_insert(failure);
            }
            self.done.notify_one();
        }
    }
}

/// The threads, as the caller sees them. Dropping this ends them.
pub(super) struct WorkerPool<'q, J> {
    queue: &'q Queue<J>,
    batch: Vec<J>,
    /// Whether there was no job since the last drain.
    is_idle: bool,
}

impl<'q, J: Job> WorkerPool<'q, J> {
    /// Starts a thread for each processor, up to [`MAX_THREADS`].
    pub(super) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        queue: &'q Queue<J>,
    ) -> WorkerPool<'q, J>
    where
        'q: 'scope,
    {
        let count = available_parallelism().map_or(1, usize::from);
        for _ in 0..count.min(MAX_THREADS) {
            scope.spawn(|| queue.run());
        }
        WorkerPool {
            queue,
            batch: Vec::new(),
            is_idle: true,
        }
    }

    /// The last job of the batch that is being collected.
    pub(super) fn last(&self) -> Option<&J> {
        self.batch.last()
    }

    /// Adds a job, which is run before the next [`WorkerPool::drain`] returns.
    ///
    /// # Errors
    /// The error of any earlier job.
    pub(super) fn push(&mut self, job: J) -> Result<(), Failure> {
        self.is_idle = false;
        self.batch.push(job);
        if self.batch.len() < J::BATCH {
            return Ok(());
        }
        self.submit()
    }

    /// Waits until all jobs are done.
    ///
    /// # Errors
    /// The error of the first job that failed.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        if self.is_idle {
            return Ok(());
        }
        self.submit()?;
        let mut state = self.queue.state();
        while !state.waiting.is_empty() || state.running > 0 {
            state = Queue::wait(&self.queue.done, state);
        }
        self.is_idle = true;
        state.failure.take().map_or(Ok(()), Err)
    }

    /// Queues the batch that is being collected, full or not.
    ///
    /// # Errors
    /// The error of any earlier job.
    pub(super) fn submit(&mut self) -> Result<(), Failure> {
        let batch = mem::take(&mut self.batch);
        let mut state = self.queue.state();
        while state.waiting.len() >= J::MAX_BATCHES {
            state = Queue::wait(&self.queue.done, state);
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure);
        }
        if !batch.is_empty() {
            state.waiting.push_back(batch);
            self.queue.work.notify_one();
        }
        Ok(())
    }
}

impl<J> Drop for WorkerPool<'_, J> {
    fn drop(&mut self) {
        self.queue.state().is_closed = true;
        self.queue.work.notify_all();
    }
}
