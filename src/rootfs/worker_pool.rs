//! Jobs done by several threads.
//!
//! Making a file costs mostly time in the kernel, so a few threads share it. Whoever needs what
//! they make to be there waits with [`WorkerPool::drain`].

use std::collections::VecDeque;
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Scope, available_parallelism};

use super::error::Failure;

const MAX_THREADS: usize = 4;

/// Something to be done, in no particular order.
pub(super) trait Job: Send {
    /// Jobs are handed over in batches, since waking a thread costs as much as doing one.
    const BATCH: usize;
    /// Batches that wait at most.
    const MAX_BATCHES: usize;
    /// Does it.
    fn run(&self) -> Result<(), Failure>;
}

/// The threads' common state.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    /// There is work, or there will be no more.
    work: Condvar,
    /// Some work was done.
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
            // After a failure, the rest only has to disappear.
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

/// The side that hands jobs over. Dropping it ends the threads.
pub(super) struct WorkerPool<'q, J> {
    queue: &'q Queue<J>,
    batch: Vec<J>,
    /// Whether nothing was handed over since the last drain.
    is_idle: bool,
}

impl<'q, J: Job> WorkerPool<'q, J> {
    /// Starts as many threads as the machine has use for.
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

    /// The job handed over last, as long as its batch is not full.
    pub(super) fn last(&self) -> Option<&J> {
        self.batch.last()
    }

    /// Has a job done, at some time before the next [`WorkerPool::drain`] returns.
    ///
    /// # Errors
    /// That of any job handed over before.
    pub(super) fn push(&mut self, job: J) -> Result<(), Failure> {
        self.is_idle = false;
        self.batch.push(job);
        if self.batch.len() < J::BATCH {
            return Ok(());
        }
        self.hand_over()
    }

    /// Waits until all jobs are done.
    ///
    /// # Errors
    /// That of the first that failed.
    pub(super) fn drain(&mut self) -> Result<(), Failure> {
        if self.is_idle {
            return Ok(());
        }
        self.hand_over()?;
        let mut state = self.queue.state();
        while !state.waiting.is_empty() || state.running > 0 {
            state = Queue::wait(&self.queue.done, state);
        }
        self.is_idle = true;
        state.failure.take().map_or(Ok(()), Err)
    }

    /// Hands over what waits for a batch to be full.
    ///
    /// # Errors
    /// That of any job handed over before.
    pub(super) fn hand_over(&mut self) -> Result<(), Failure> {
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
