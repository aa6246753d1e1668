//! A worker thread that takes what waits for it in batches.

use std::io;
use std::thread;

use sail_support::catch_panic;
use tokio::sync::{mpsc, oneshot};

use crate::error::RequestError;
use crate::metrics::Stage;

/// Sends inputs to a thread that processes as many at once as wait, without waiting for more.
///
/// Under load batches grow and the time per input falls; an idle thread takes a lone input at once. The queue is bounded: a
/// request whose inputs do not fit is refused, so the time that an accepted one waits is bounded as well. The thread ends when
/// this value is dropped, after the batch under way.
pub(crate) struct Batcher<I, O> {
    queue: mpsc::Sender<Job<I, O>>,
    batch: usize,
}

struct Job<I, O> {
    input: I,
    reply: oneshot::Sender<O>,
}

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Starts the thread. `process` returns one output per input, of at most `batch` inputs. If it panics, the inputs of its
    /// batch fail and the thread goes on.
    pub(crate) fn start(
        stage: &Stage,
        queue: usize,
        batch: usize,
        mut process: impl FnMut(Vec<I>) -> Vec<O> + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, mut receiver) = mpsc::channel::<Job<I, O>>(queue);
        let stage = stage.clone();
        let work = move || {
            let mut jobs = Vec::with_capacity(batch);
            while receiver.blocking_recv_many(&mut jobs, batch) > 0 {
                // Nobody waits for the answer to a request that was given up.
                jobs.retain(|job| !job.reply.is_closed());
                if jobs.is_empty() {
                    continue;
                }
                stage.batches.observe(jobs.len() as f64);
                let (inputs, replies): (Vec<I>, Vec<_>) =
                    jobs.drain(..).map(|job| (job.input, job.reply)).unzip();
                match catch_panic(|| process(inputs)) {
                    Ok(outputs) => outputs.into_iter().zip(replies).for_each(|(output, reply)| {
                        // The client may have left meanwhile.
                        let _ = reply.send(output);
                    }),
                    Err(reason) => tracing::error!("{} panicked: {reason}", stage.name),
                }
            }
        };
        thread::Builder::new().name(format!("sail-{}", stage.name)).spawn(work)?;
        Ok(Self { queue: sender, batch })
    }

    /// Returns the number of inputs that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Processes inputs, a batch at a time, so that a request with many does not hold up the others. If they do not fit into the
    /// queue, the request is refused.
    pub(crate) async fn run(&self, inputs: Vec<I>) -> Result<Vec<O>, RequestError> {
        self.process(inputs, false).await
    }

    /// Processes inputs of a request that another stage has worked for: it waits for its turn instead of being refused.
    pub(crate) async fn run_accepted(&self, inputs: Vec<I>) -> Result<Vec<O>, RequestError> {
        self.process(inputs, true).await
    }

    async fn process(&self, inputs: Vec<I>, is_accepted: bool) -> Result<Vec<O>, RequestError> {
        let mut outputs = Vec::with_capacity(inputs.len());
        let mut inputs = inputs.into_iter().peekable();
        while inputs.peek().is_some() {
            let part: Vec<I> = inputs.by_ref().take(self.batch).collect();
            // A request is refused before any work for it is done, or else waits for its turn.
            let room = if outputs.is_empty() && !is_accepted {
                self.queue.try_reserve_many(part.len()).map_err(|error| match error {
                    mpsc::error::TrySendError::Full(()) => RequestError::Busy,
                    mpsc::error::TrySendError::Closed(()) => stopped(),
                })?
            } else {
                self.queue.reserve_many(part.len()).await.map_err(|_| stopped())?
            };
            let mut replies = Vec::with_capacity(part.len());
            for (place, input) in room.zip(part) {
                let (reply, receiver) = oneshot::channel();
                place.send(Job { input, reply });
                replies.push(receiver);
            }
            for reply in replies {
                outputs.push(reply.await.map_err(|_| stopped())?);
            }
        }
        Ok(outputs)
    }
}

fn stopped() -> RequestError {
    RequestError::Failed("the worker panicked or has stopped".into())
}

/// Processes inputs in one call, or one by one if that fails, so that a bad input fails alone. A panic is a failure.
pub(crate) fn together_or_alone<I, O>(
    inputs: &[I],
    process: impl Fn(&[I]) -> Result<Vec<O>, RequestError>,
) -> Vec<Result<O, RequestError>> {
    let process = |inputs: &[I]| {
        let outputs = catch_panic(|| process(inputs)).map_err(RequestError::failed)??;
        if outputs.len() != inputs.len() {
            let message = format!("{} outputs for {} inputs", outputs.len(), inputs.len());
            return Err(RequestError::failed(message));
        }
        Ok(outputs)
    };
    if inputs.len() != 1
        && let Ok(outputs) = process(inputs)
    {
        return outputs.into_iter().map(Ok).collect();
    }
    let alone = |input| {
        let output = process(std::slice::from_ref(input))?.pop();
        output.ok_or_else(|| RequestError::failed("no output"))
    };
    inputs.iter().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc as blocking;

    use super::*;
    use crate::metrics::Metrics;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().unwrap()
    }

    #[test]
    fn what_waits_is_one_batch_and_a_full_queue_refuses() {
        let (started, starts) = blocking::channel();
        let (go, gate) = blocking::channel::<()>();
        let sizes = std::sync::Arc::new(Mutex::new(Vec::new()));
        let seen = sizes.clone();
        let metrics = Metrics::new();
        let batcher = Batcher::start(metrics.model(), 4, 3, move |inputs: Vec<i32>| {
            seen.lock().unwrap().push(inputs.len());
            started.send(()).unwrap();
            gate.recv().unwrap();
            inputs.iter().map(|input| input * 2).collect()
        })
        .unwrap();
        runtime().block_on(async {
            let mut first = Box::pin(batcher.run(vec![1]));
            assert!(futures_poll(&mut first).await.is_none());
            starts.recv().unwrap();
            // The thread is busy with the first input; four more fit into the queue.
            let mut second = Box::pin(batcher.run(vec![2, 3]));
            let mut third = Box::pin(batcher.run(vec![4, 5]));
            assert!(futures_poll(&mut second).await.is_none() && futures_poll(&mut third).await.is_none());
            assert_eq!(batcher.waiting(), 4);
            assert!(matches!(batcher.run(vec![6]).await, Err(RequestError::Busy)));
            let mut accepted = Box::pin(batcher.run_accepted(vec![7]));
            assert!(futures_poll(&mut accepted).await.is_none());
            (0..4).for_each(|_| go.send(()).unwrap());
            assert_eq!(first.await.unwrap(), [2]);
            assert_eq!(second.await.unwrap(), [4, 6]);
            assert_eq!(third.await.unwrap(), [8, 10]);
            assert_eq!(accepted.await.unwrap(), [14]);
        });
        assert_eq!(sizes.lock().unwrap()[..2], [1, 3]);
    }

    /// Polls a future once.
    async fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[test]
    fn a_panic_fails_its_batch_only() {
        let metrics = Metrics::new();
        let batcher = Batcher::start(metrics.model(), 4, 2, |inputs: Vec<i32>| {
            assert!(!inputs.contains(&13), "unlucky");
            inputs
        })
        .unwrap();
        runtime().block_on(async {
            assert!(matches!(batcher.run(vec![13]).await, Err(RequestError::Failed(_))));
            // Longer than a batch and than the queue.
            assert_eq!(batcher.run((0..10).collect()).await.unwrap(), (0..10).collect::<Vec<_>>());
        });
    }

    #[test]
    fn a_bad_input_fails_alone() {
        let halve = |inputs: &[i32]| {
            assert!(!inputs.contains(&0), "zero");
            let half = |input: &i32| match input % 2 {
                0 => Ok(input / 2),
                _ => Err(RequestError::Input("odd".to_owned())),
            };
            inputs.iter().map(half).collect::<Result<Vec<_>, _>>()
        };
        let halves = together_or_alone(&[2, 3, 4, 0], halve);
        assert!(matches!(
            &halves[..],
            [Ok(1), Err(RequestError::Input(_)), Ok(2), Err(RequestError::Failed(_))]
        ));
        assert!(together_or_alone(&[2, 4], halve).iter().all(Result::is_ok));
        // An output less would be taken for that of another input.
        let fewer = together_or_alone(&[2, 4], |_: &[i32]| Ok(Vec::<i32>::new()));
        assert!(fewer.len() == 2 && fewer.iter().all(Result::is_err));
    }
}
