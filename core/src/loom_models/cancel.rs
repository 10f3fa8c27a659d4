//! [`CancellationToken`]: see `attach` in `cancel.rs`.

use std::sync::Arc;

use crate::cancel::OnCancel;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::thread;
use crate::{CancelReason, CancellationToken};

/// A child of a token that is being cancelled is cancelled too.
#[test]
fn loom_cancel_against_a_new_child() {
    loom::model(|| {
        let token = CancellationToken::new();
        let above = token.clone();
        let canceller = thread::spawn(move || above.cancel());
        let child = token.child();
        canceller.join().unwrap();
        assert!(child.is_cancelled());
    });
}

struct Listener(AtomicUsize);

impl OnCancel for Listener {
    fn on_cancel(&self, _: CancelReason) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A listener is told once, whether it comes before the cancellation or after; and two who
/// cancel agree on the reason.
#[test]
fn loom_cancel_tells_once() {
    loom::model(|| {
        let token = CancellationToken::new();
        let cancellers = [CancelReason::Asked, CancelReason::Deadline].map(|reason| {
            let token = token.clone();
            thread::spawn(move || {
                token.cancel_because(reason);
                token.reason()
            })
        });
        let listener = Arc::new(Listener(AtomicUsize::new(0)));
        token.listen(Arc::downgrade(&listener) as _);
        let reasons = cancellers.map(|canceller| canceller.join().unwrap());
        assert_eq!(reasons[0], reasons[1]);
        assert_eq!(listener.0.load(Ordering::Acquire), 1);
    });
}
