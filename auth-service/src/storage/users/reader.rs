//! Reads the accounts of many requests with one query: whoever asks while others are asking is asked for together with
//! those who come meanwhile. Nothing is remembered: each answer was read after its question.

use std::collections::HashMap;
use std::sync::Arc;

use batch_aint_one::{BatchError, Batcher, BatchingPolicy, Limits, Processor};
use shared::calls;
use shared::database::{Database, in_time};
use shared::problem::Problem;
use shared::session::UserId;
use thread_local::ThreadLocal;
use tracing::Instrument as _;

use super::{User, by_ids};

/// How many accounts one query asks for.
const TOGETHER: usize = 64;
/// How many queries are under way at most, and how many requests wait before another begins beside the one under way: one
/// that hangs holds up few.
const UNDER_WAY: usize = 4;
const CROWD: usize = 16;
/// How many requests wait at most; a further one is refused.
const WAITING: usize = 10_000;

/// Each thread that asks has a queue of its own, for each has a runtime of its own: no answer wakes another thread.
pub struct UserReader {
    query: Query,
    queues: ThreadLocal<Batcher<Query>>,
}

impl UserReader {
    /// `service` is in whose name the queries are made.
    pub fn new(database: Database, service: &'static str) -> Self {
        Self { query: Query { database, service }, queues: ThreadLocal::new() }
    }

    fn queue(&self) -> Batcher<Query> {
        let limits = Limits::builder().max_batch_size(TOGETHER).max_key_concurrency(UNDER_WAY);
        let limits = limits.max_key_queued_items(WAITING).max_items_awaiting_worker(WAITING).build();
        let policy = BatchingPolicy::Balanced { min_size_hint: CROWD };
        let query = self.query.clone();
        Batcher::builder().name("accounts").processor(query).limits(limits).batching_policy(policy).build()
    }

    /// The account as it is now, or none.
    ///
    /// # Errors
    /// 503 when the database does not answer within 8 seconds, or too many wait.
    pub async fn by_id(&self, id: UserId) -> Result<Option<User>, Problem> {
        let waiting = async { Ok(self.queues.get_or(|| self.queue()).add((), id).await) };
        match in_time(waiting.instrument(calls::step("read the account"))).await? {
            Ok(found) => Ok(found),
            Err(BatchError::BatchFailed(error)) => Err(error.as_ref().into()),
            // The queue ended with the runtime of a thread before this one.
            Err(BatchError::Tx | BatchError::Rx(_)) => Ok(by_ids(&self.query.database, &[id]).await?.pop()),
            Err(other) => Err(Problem::unavailable("the database", other)),
        }
    }
}

#[derive(Clone)]
struct Query {
    database: Database,
    service: &'static str,
}

impl Processor for Query {
    type Key = ();
    type Input = UserId;
    type Output = Option<User>;
    type Error = Arc<sqlx::Error>;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), Arc<sqlx::Error>> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        ids: impl Iterator<Item = UserId> + Send,
        (): (),
    ) -> Result<Vec<Option<User>>, Arc<sqlx::Error>> {
        let ids: Vec<UserId> = ids.collect();
        let found = calls::in_service(self.service, by_ids(&self.database, &ids)).await.map_err(Arc::new)?;
        let found: HashMap<UserId, User> = found.into_iter().map(|user| (user.id, user)).collect();
        Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
    }
}
