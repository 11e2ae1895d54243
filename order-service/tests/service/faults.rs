//! Faults on demand: an outside call that never comes back, or breaks, before or after its work is done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use order_service::payment::{ChargeId, ChargeOutcome, PaymentProcessor, ProcessorUnavailable, TestPaymentProcessor};
use order_service::rules::money::Money;
use order_service::rules::payment_method::PaymentMethod;
use shared::clock::Timestamp;
use shared::session::{
    Created, EndReason, FeedPosition, Granted, MemorySessionStore, NewSession, OnlineCursor, OnlinePage, Revocation,
    Rotation, Session, SessionId, SessionLimit, SessionStore, StoreUnavailable, Touched, UserId, Written,
};
use tokio::sync::watch;
use uuid::Uuid;

/// The outside calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    CheckOut,
    Confirm,
    Release,
    Charge,
    Refund,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    BeforeWork,
    AfterWork,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Never answers.
    Hangs,
    /// Breaks without an answer.
    Breaks,
}

/// The fault that is switched on, if any. A copy is the same switch.
#[derive(Clone)]
pub(crate) struct Faults(Arc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    fault: Option<(Call, When, Fault)>,
    reached: bool,
}

#[derive(Debug)]
pub(crate) struct Broken;

impl Default for Faults {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Faults {
    pub(crate) fn switch_on(&self, call: Call, when: When, fault: Fault) {
        self.0.send_replace(State { fault: Some((call, when, fault)), reached: false });
    }

    pub(crate) fn switch_off(&self) {
        self.0.send_replace(State::default());
    }

    /// Waits until somebody ran into the fault.
    pub(crate) async fn reached(&self) {
        let mut state = self.0.subscribe();
        let reached = state.wait_for(|state| state.reached);
        tokio::time::timeout(Duration::from_secs(20), reached).await.expect("the fault is reached").unwrap();
    }

    pub(crate) async fn pass(&self, call: Call, when: When) -> Result<(), Broken> {
        let fault = self.0.borrow().fault.filter(|(c, w, _)| (*c, *w) == (call, when)).map(|(_, _, fault)| fault);
        let Some(fault) = fault else { return Ok(()) };
        self.0.send_modify(|state| state.reached = true);
        match fault {
            Fault::Hangs => std::future::pending().await,
            Fault::Breaks => Err(Broken),
        }
    }
}

/// The test processor behind faults.
pub(crate) struct FaultyProcessor {
    pub(crate) processor: TestPaymentProcessor,
    pub(crate) faults: Faults,
}

impl fmt::Debug for FaultyProcessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyProcessor")
    }
}

fn broken(_: Broken) -> ProcessorUnavailable {
    ProcessorUnavailable("it was switched off".to_owned())
}

#[async_trait]
impl PaymentProcessor for FaultyProcessor {
    async fn charge(
        &self,
        id: ChargeId,
        amount: Money,
        method: PaymentMethod,
    ) -> Result<ChargeOutcome, ProcessorUnavailable> {
        self.faults.pass(Call::Charge, When::BeforeWork).await.map_err(broken)?;
        let outcome = self.processor.charge(id, amount, method).await;
        self.faults.pass(Call::Charge, When::AfterWork).await.map_err(broken)?;
        outcome
    }

    async fn status(&self, id: ChargeId) -> Result<Option<ChargeOutcome>, ProcessorUnavailable> {
        self.processor.status(id).await
    }

    async fn refund(&self, order: Uuid) -> Result<(), ProcessorUnavailable> {
        self.faults.pass(Call::Refund, When::BeforeWork).await.map_err(broken)?;
        let outcome = self.processor.refund(order).await;
        self.faults.pass(Call::Refund, When::AfterWork).await.map_err(broken)?;
        outcome
    }
}

/// The memory store, which can be taken away.
pub(crate) struct RemovableSessions {
    store: MemorySessionStore,
    away: AtomicBool,
}

impl RemovableSessions {
    pub(crate) fn new(store: MemorySessionStore) -> Self {
        Self { store, away: AtomicBool::new(false) }
    }

    pub(crate) fn take_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn bring_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    fn there(&self) -> Result<&MemorySessionStore, StoreUnavailable> {
        let away = self.away.load(Ordering::SeqCst);
        if away { Err(StoreUnavailable("it was taken away".to_owned())) } else { Ok(&self.store) }
    }
}

#[async_trait]
impl SessionStore for RemovableSessions {
    async fn create(&self, new: NewSession, limit: SessionLimit) -> Result<Created, StoreUnavailable> {
        self.there()?.create(new, limit).await
    }

    async fn load(&self, id: SessionId) -> Result<Option<Session>, StoreUnavailable> {
        self.there()?.load(id).await
    }

    async fn touch(&self, id: SessionId) -> Result<Touched, StoreUnavailable> {
        self.there()?.touch(id).await
    }

    async fn write(
        &self,
        id: SessionId,
        changes: &[(String, Option<String>)],
        expected: Option<u64>,
    ) -> Result<Written, StoreUnavailable> {
        self.there()?.write(id, changes, expected).await
    }

    async fn rotate(
        &self,
        id: SessionId,
        client: &str,
        presented: u64,
        grace: Duration,
    ) -> Result<Rotation, StoreUnavailable> {
        self.there()?.rotate(id, client, presented, grace).await
    }

    async fn grant(&self, id: SessionId, client: &str) -> Result<Granted, StoreUnavailable> {
        self.there()?.grant(id, client).await
    }

    async fn end_grant(&self, id: SessionId, client: &str) -> Result<(), StoreUnavailable> {
        self.there()?.end_grant(id, client).await
    }

    async fn end(&self, id: SessionId, reason: EndReason) -> Result<Option<Session>, StoreUnavailable> {
        self.there()?.end(id, reason).await
    }

    async fn end_all(
        &self,
        user: UserId,
        except: Option<SessionId>,
        reason: EndReason,
    ) -> Result<Vec<SessionId>, StoreUnavailable> {
        self.there()?.end_all(user, except, reason).await
    }

    async fn list(&self, user: UserId) -> Result<Vec<Session>, StoreUnavailable> {
        self.there()?.list(user).await
    }

    async fn online(&self, after: Option<OnlineCursor>, limit: usize) -> Result<OnlinePage, StoreUnavailable> {
        self.there()?.online(after, limit).await
    }

    async fn revoke_token(&self, user: UserId, token_id: u128) -> Result<(), StoreUnavailable> {
        self.there()?.revoke_token(user, token_id).await
    }

    fn feed_start(&self) -> FeedPosition {
        self.store.feed_start()
    }

    async fn follow(&self, position: &FeedPosition) -> Result<(Vec<Revocation>, FeedPosition), StoreUnavailable> {
        self.there()?.follow(position).await
    }

    fn remembers_since(&self) -> Option<Timestamp> {
        self.store.remembers_since()
    }

    async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.there()?.ping().await
    }
}
