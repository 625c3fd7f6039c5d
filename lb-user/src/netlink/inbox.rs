//! What the kernel reported and the watcher has not looked at yet: bounded.
//!
//! rtnetlink hands messages over by a channel without bound. It is emptied at once into this, which holds a
//! number of them; where more come than are looked at, all are dropped and the watcher is told that it must read
//! everything anew. The same is said where the kernel itself dropped some (ENOBUFS).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use futures_util::stream::Stream;
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use tokio::sync::Notify;

/// Messages that wait, at most: below 1 MiB of them.
pub(super) const MOST: usize = 4096;

/// What comes out.
#[derive(Debug)]
pub(super) enum Incoming {
    /// A message of the kernel.
    Message(RouteNetlinkMessage),
    /// Some were lost; those that follow are newer than this was found out.
    Lost,
    /// The kernel's socket has ended, and everything before that was taken.
    Ended,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<RouteNetlinkMessage>,
    lost: bool,
    ended: bool,
}

/// The two ends of it: whoever fills and whoever takes.
#[derive(Debug, Clone, Default)]
pub(super) struct Inbox {
    waiting: Arc<Mutex<Waiting>>,
    filled: Arc<Notify>,
}

impl Inbox {
    /// Fills it from what comes of the kernel, to the end of that.
    pub(super) async fn fill(
        self,
        mut messages: impl Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Unpin,
    ) {
        while let Some(message) = messages.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(message) => self.put(message),
                NetlinkPayload::Overrun(_) => self.lose(),
                _ => {}
            }
        }
        self.lock().ended = true;
        self.filled.notify_one();
    }

    /// Adds a message. As long as a loss is not known nothing needs to be kept: what follows that reads anew.
    fn put(&self, message: RouteNetlinkMessage) {
        let full = {
            let mut waiting = self.lock();
            if !waiting.lost && waiting.messages.len() < MOST {
                waiting.messages.push_back(message);
            }
            waiting.messages.len() >= MOST
        };
        if full {
            self.lose();
        }
        self.filled.notify_one();
    }

    fn lose(&self) {
        let mut waiting = self.lock();
        // Not only the elements: a burst must not hold memory for good.
        waiting.messages = VecDeque::new();
        waiting.lost = true;
        drop(waiting);
        self.filled.notify_one();
    }

    /// The next, when there is one.
    pub(super) async fn next(&self) -> Incoming {
        loop {
            if let Some(incoming) = self.take() {
                return incoming;
            }
            self.filled.notified().await;
        }
    }

    fn take(&self) -> Option<Incoming> {
        let mut waiting = self.lock();
        if std::mem::take(&mut waiting.lost) {
            return Some(Incoming::Lost);
        }
        match waiting.messages.pop_front() {
            Some(message) => Some(Incoming::Message(message)),
            None => waiting.ended.then_some(Incoming::Ended),
        }
    }

    /// Nothing that holds it can leave it half changed.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::RouteMessage;

    use super::*;

    fn route(n: u8) -> RouteNetlinkMessage {
        let mut message = RouteMessage::default();
        message.header.destination_prefix_length = n;
        RouteNetlinkMessage::NewRoute(message)
    }

    fn prefix(incoming: Option<Incoming>) -> Option<u8> {
        match incoming {
            Some(Incoming::Message(RouteNetlinkMessage::NewRoute(route))) => {
                Some(route.header.destination_prefix_length)
            }
            _ => None,
        }
    }

    #[test]
    fn messages_come_out_as_they_came_in() {
        let inbox = Inbox::default();
        inbox.put(route(1));
        inbox.put(route(2));
        assert_eq!(prefix(inbox.take()), Some(1));
        assert_eq!(prefix(inbox.take()), Some(2));
        assert!(inbox.take().is_none());
    }

    #[test]
    fn more_than_it_holds_is_one_loss_and_then_only_what_is_newer() {
        let inbox = Inbox::default();
        for _ in 0..3 * MOST {
            inbox.put(route(1));
            assert!(inbox.lock().messages.len() < MOST);
        }
        assert!(matches!(inbox.take(), Some(Incoming::Lost)));
        assert!(inbox.take().is_none(), "what is older than the loss is not told after it");
        inbox.put(route(2));
        assert_eq!(prefix(inbox.take()), Some(2));
    }

    #[test]
    fn what_the_kernel_dropped_is_said_the_same_way_and_the_end_comes_last() {
        let inbox = Inbox::default();
        let payloads = [
            NetlinkPayload::InnerMessage(route(1)),
            NetlinkPayload::Overrun(vec![]),
            NetlinkPayload::InnerMessage(route(2)),
        ];
        let messages = payloads.map(|payload| NetlinkMessage::new(Default::default(), payload));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            inbox.clone().fill(futures_util::stream::iter(messages)).await;
            assert!(matches!(inbox.next().await, Incoming::Lost));
            assert!(matches!(inbox.next().await, Incoming::Ended));
        });
    }
}
