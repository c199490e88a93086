//! A panic, in a callback of the caller's or in what runs in the background, ends what it happened in, nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

/// Runs a future to its end; a panic in it ends it with the panic's message.
pub(crate) async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        // After a panic the future is never polled again, so no broken state of it is seen.
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => Poll::Ready(Ok(value)),
            Err(panic) => Poll::Ready(Err(message(panic.as_ref()))),
        }
    })
    .await
}

/// How long something that panicked rests before it goes on: twice as long each time, ...
const REST: Duration = Duration::from_millis(100);
/// ... but no longer than this. Once it has run for as long, the next panic counts as the first.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// Runs something that never ends by itself: begins it anew after each panic, and calls `panicked`.
pub(crate) async fn supervised<F: Future<Output = ()>>(mut begin: impl FnMut() -> F, mut panicked: impl FnMut()) {
    let mut rest = REST;
    loop {
        let begun = tokio::time::Instant::now();
        if caught(begin()).await.is_ok() {
            return;
        }
        panicked();
        if begun.elapsed() >= LONGEST_REST {
            rest = REST;
        }
        tokio::time::sleep(rest).await;
        rest = (rest * 2).min(LONGEST_REST);
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    #[tokio::test(start_paused = true)]
    async fn what_panics_goes_on() {
        let (begun, counted) = (Cell::new(0), Cell::new(0));
        let begin = || {
            begun.set(begun.get() + 1);
            let round = begun.get();
            async move {
                tokio::task::yield_now().await;
                assert!(round == 3, "a defect");
            }
        };
        supervised(begin, || counted.set(counted.get() + 1)).await;
        assert_eq!((begun.get(), counted.get()), (3, 2), "it ended by itself the third time");
    }

    #[tokio::test(start_paused = true)]
    async fn what_panics_every_time_rests_longer_and_longer() {
        let began = RefCell::new(Vec::new());
        let start = tokio::time::Instant::now();
        let begin = || {
            began.borrow_mut().push(start.elapsed().as_millis());
            let round = began.borrow().len();
            async move {
                // The ninth one runs for a while.
                tokio::time::sleep(if round == 9 { LONGEST_REST } else { Duration::ZERO }).await;
                assert!(round == 11, "a defect");
            }
        };
        supervised(begin, || {}).await;
        let began = began.into_inner();
        let rests: Vec<_> = began.windows(2).map(|two| two[1] - two[0]).collect();
        assert_eq!(rests, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5100, 200]);
    }

    #[tokio::test]
    async fn a_panic_is_a_value() {
        assert_eq!(caught(async { 7 }).await, Ok(7));
        let failed: Result<(), _> = caught(async { panic!("a defect of {}", 7) }).await;
        assert_eq!(failed, Err("a defect of 7".to_owned()));
        let failed: Result<(), _> = caught(async { std::panic::panic_any(7) }).await;
        assert_eq!(failed, Err("no message".to_owned()));
    }
}
