//! The threads that hash. Owns their memory, their queue and their low priority; holds no database connection, and
//! never blocks a request that needs no hash.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use shared::calls;
use shared::problem::Problem;
use tokio::sync::oneshot;

use super::{NewPassword, Password};

/// argon2id with 19 MiB, 2 passes, 1 lane (OWASP Password Storage; OWASP ASVS 5.0, 11.4.2).
pub const PARAMS: Params = Params::DEFAULT;
const OUTPUT_LEN: usize = 32;
/// An older hash with more memory than this is not computed: it would be a way to exhaust ours.
const MAX_MEMORY_KIB: u32 = 256 * 1024;
/// How much less often than a request a hash gets a core.
pub const NICENESS: i32 = 10;

/// What [`PasswordHasher::verify`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    Wrong,
    Right,
    /// Right, and the hash was made with other parameters than today's, or of the text as it was sent: hash it again.
    RightButOld,
}

/// The queue is full: more logins than the machine can hash in the time that people wait.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("too many passwords are waiting to be hashed")]
pub struct TooBusy;

impl From<TooBusy> for Problem {
    fn from(error: TooBusy) -> Self {
        use actix_web::http::StatusCode;
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "too_busy", error.to_string());
        problem.retry_after(Duration::from_secs(2))
    }
}

/// Hashes and checks passwords on threads of its own. A copy is the same threads; they end with the last one.
///
/// One thread keeps one 19 MiB block of memory for all its life. Fresh memory for each hash costs a third more time,
/// and fragments the heap until 2 GB are gone.
#[derive(Clone)]
pub struct PasswordHasher {
    queue: SyncSender<Job>,
    /// Stands in where there is no account, so that an unknown address costs what a known one does.
    dummy: Arc<str>,
    computed: Arc<AtomicU64>,
}

struct Job {
    password: Password,
    work: Work,
    asked: Instant,
}

enum Work {
    Hash(oneshot::Sender<String>),
    Verify(Arc<str>, oneshot::Sender<Verified>),
}

impl PasswordHasher {
    /// Starts `threads` threads, and lets at most `waiting` passwords wait for them.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(threads: usize, waiting: usize) -> anyhow::Result<Self> {
        let (queue, jobs) = sync_channel(waiting.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let computed = Arc::new(AtomicU64::new(0));
        for number in 0..threads.max(1) {
            let (jobs, computed) = (jobs.clone(), computed.clone());
            let name = format!("hash-{number}");
            thread::Builder::new().name(name).spawn(move || work(&jobs, &computed))?;
        }
        let mut memory = Memory::default();
        let dummy = memory.hash(&Password::from(NewPassword::make_up())).into();
        Ok(Self { queue, dummy, computed })
    }

    /// The hash of a new password as PHC text.
    ///
    /// # Errors
    /// The queue is full.
    pub async fn hash(&self, password: impl Into<Password>) -> Result<String, TooBusy> {
        let (answer, answered) = oneshot::channel();
        let _span = calls::step("hash a password");
        self.enqueue(Job { password: password.into(), work: Work::Hash(answer), asked: Instant::now() })?;
        answered.await.map_err(|_| TooBusy)
    }

    /// Whether the password belongs to the hash. Without one it is wrong, after the same work.
    ///
    /// # Errors
    /// The queue is full.
    pub async fn verify(&self, password: Password, hash: Option<&str>) -> Result<Verified, TooBusy> {
        let (answer, answered) = oneshot::channel();
        let against = hash.map_or_else(|| self.dummy.clone(), Arc::from);
        let _span = calls::step("check a password");
        self.enqueue(Job { password, work: Work::Verify(against, answer), asked: Instant::now() })?;
        let verified = answered.await.map_err(|_| TooBusy)?;
        Ok(if hash.is_some() { verified } else { Verified::Wrong })
    }

    /// How many hashes were computed since the start: what a test counts to see that an unknown address costs the same.
    pub fn computed(&self) -> u64 {
        self.computed.load(Ordering::Relaxed)
    }

    fn enqueue(&self, job: Job) -> Result<(), TooBusy> {
        metrics::gauge!("roam_hash_queue").increment(1.0);
        self.queue.try_send(job).map_err(|error| {
            metrics::gauge!("roam_hash_queue").decrement(1.0);
            if let TrySendError::Disconnected(_) = error {
                tracing::error!("no thread is left to hash passwords");
            }
            TooBusy
        })
    }
}

fn work(jobs: &Mutex<Receiver<Job>>, computed: &AtomicU64) {
    // On Linux the niceness is the thread's own. Where it is refused, hashing only competes harder.
    let _ = rustix::process::nice(NICENESS);
    let mut memory = Memory::default();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { password, work, asked }) = job else { return };
        metrics::gauge!("roam_hash_queue").decrement(1.0);
        metrics::histogram!("roam_hash_wait_seconds").record(asked.elapsed().as_secs_f64());
        // Whoever gave up waiting, or left, is not worth a hash.
        match work {
            Work::Hash(answer) if !answer.is_closed() => {
                computed.fetch_add(1, Ordering::Relaxed);
                let _ = answer.send(timed(|| memory.hash(&password)));
            }
            Work::Verify(hash, answer) if !answer.is_closed() => {
                computed.fetch_add(1, Ordering::Relaxed);
                let _ = answer.send(timed(|| memory.verify(&password, &hash)));
            }
            Work::Hash(_) | Work::Verify(..) => {}
        }
    }
}

fn timed<T>(hash: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let hashed = hash();
    metrics::histogram!("roam_hash_seconds").record(started.elapsed().as_secs_f64());
    hashed
}

/// One thread's memory for argon2.
#[derive(Default)]
struct Memory(Vec<Block>);

impl Memory {
    fn hash(&mut self, password: &Password) -> String {
        let salt = Salt::generate();
        let output = self
            .compute(password.bytes(), &salt, Algorithm::Argon2id, Version::V0x13, &PARAMS, OUTPUT_LEN)
            .expect("the parameters are argon2's own defaults");
        PasswordHash {
            algorithm: Algorithm::Argon2id.ident(),
            version: Some(Version::V0x13.into()),
            params: ParamsString::try_from(&PARAMS).expect("the parameters are argon2's own defaults"),
            salt: Some(salt),
            hash: Some(Output::new(&output).expect("32 bytes are an output")),
        }
        .to_string()
    }

    /// A text that is no hash of ours is like a wrong password: a damaged row must not open its account.
    fn verify(&mut self, password: &Password, hash: &str) -> Verified {
        match (self.verify_bytes(password.bytes(), hash), password.bytes_as_sent()) {
            (Verified::Wrong, Some(as_sent)) => match self.verify_bytes(as_sent, hash) {
                Verified::Wrong => Verified::Wrong,
                Verified::Right | Verified::RightButOld => Verified::RightButOld,
            },
            (verified, _) => verified,
        }
    }

    fn verify_bytes(&mut self, password: &[u8], hash: &str) -> Verified {
        let Some((computed, expected, is_current)) = self.recompute(password, hash) else { return Verified::Wrong };
        match verify_slices_are_equal(&computed, &expected) {
            Err(_) => Verified::Wrong,
            Ok(()) if is_current => Verified::Right,
            Ok(()) => Verified::RightButOld,
        }
    }

    fn recompute(&mut self, password: &[u8], hash: &str) -> Option<(Vec<u8>, Vec<u8>, bool)> {
        let hash = PasswordHash::new(hash).ok()?;
        let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
        let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let expected = hash.hash?.as_bytes().to_vec();
        if params.m_cost() > MAX_MEMORY_KIB {
            tracing::error!(kib = params.m_cost(), "a password hash asks for more memory than is given");
            return None;
        }
        let current = (PARAMS.m_cost(), PARAMS.t_cost(), PARAMS.p_cost(), OUTPUT_LEN);
        let is_current = (params.m_cost(), params.t_cost(), params.p_cost(), expected.len()) == current
            && algorithm == Algorithm::Argon2id
            && version == Version::V0x13;
        let computed = self.compute(password, &hash.salt?, algorithm, version, &params, expected.len())?;
        Some((computed, expected, is_current))
    }

    fn compute(
        &mut self,
        password: &[u8],
        salt: &Salt,
        algorithm: Algorithm,
        version: Version,
        params: &Params,
        output_len: usize,
    ) -> Option<Vec<u8>> {
        let blocks = params.block_count().max(PARAMS.block_count());
        self.0.resize(blocks, Block::new());
        let mut output = vec![0; output_len];
        let argon2 = Argon2::new(algorithm, version, params.clone());
        let done = argon2.hash_password_into_with_memory(password, salt.as_ref(), &mut output, self.0.as_mut_slice());
        self.0.truncate(PARAMS.block_count());
        self.0.shrink_to_fit();
        done.ok().map(|()| output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).expect("a password")
    }

    #[tokio::test]
    async fn a_hash_of_a_text_as_it_was_sent_is_good_and_old() {
        let hasher = PasswordHasher::start(1, 8).expect("threads");
        let (sent, normal) = ("cafe\u{301} au\u{a0}lait", "caf\u{e9} au lait");
        let salt = Salt::generate();
        // As the release before made it.
        let of_before = {
            let mut memory = Memory::default();
            let output =
                memory.compute(sent.as_bytes(), &salt, Algorithm::Argon2id, Version::V0x13, &PARAMS, OUTPUT_LEN);
            PasswordHash {
                algorithm: Algorithm::Argon2id.ident(),
                version: Some(Version::V0x13.into()),
                params: ParamsString::try_from(&PARAMS).expect("parameters"),
                salt: Some(salt),
                hash: Some(Output::new(&output.expect("a hash")).expect("an output")),
            }
            .to_string()
        };
        let verify = async |text, hash: &str| hasher.verify(password(text), Some(hash)).await.expect("not busy");
        assert_eq!(verify(sent, &of_before).await, Verified::RightButOld);
        assert_eq!(verify("cafe\u{301} au\u{a0}lai", &of_before).await, Verified::Wrong);
        let renewed = hasher.hash(password(sent)).await.expect("not busy");
        for text in [sent, normal, "caf\u{e9} au\u{a0}lait"] {
            assert_eq!(verify(text, &renewed).await, Verified::Right, "{text:?}");
        }
    }

    #[tokio::test]
    async fn only_the_right_password_belongs_to_a_hash() {
        let hasher = PasswordHasher::start(1, 8).expect("threads");
        let hash = hasher.hash(password("correct horse")).await.expect("not busy");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = async |text| hasher.verify(password(text), Some(&hash)).await.expect("not busy");
        assert_eq!(verify("correct horse").await, Verified::Right);
        for wrong in ["correct hors", "Correct horse", "correct horse ", "", "correct horse\u{0}"] {
            assert_eq!(verify(wrong).await, Verified::Wrong, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn no_account_costs_one_hash_too_and_is_always_wrong() {
        let hasher = PasswordHasher::start(1, 8).expect("threads");
        let before = hasher.computed();
        assert_eq!(hasher.verify(password("correct horse"), None).await.expect("not busy"), Verified::Wrong);
        assert_eq!(hasher.computed(), before + 1);
    }

    #[tokio::test]
    async fn a_hash_with_other_parameters_is_right_but_old() {
        let hasher = PasswordHasher::start(1, 8).expect("threads");
        let params = Params::new(64, 1, 1, Some(32)).expect("parameters");
        let salt = Salt::generate();
        let output = Memory::default()
            .compute(b"correct horse", &salt, Algorithm::Argon2id, Version::V0x13, &params, 32)
            .expect("computed");
        let params = ParamsString::try_from(&params).expect("parameters");
        let hash = Some(Output::new(&output).expect("an output"));
        let old =
            PasswordHash { algorithm: Algorithm::Argon2id.ident(), version: Some(19), params, salt: Some(salt), hash };
        let verified = hasher.verify(password("correct horse"), Some(&old.to_string())).await.expect("not busy");
        assert_eq!(verified, Verified::RightButOld);
    }

    #[tokio::test]
    async fn a_damaged_hash_opens_nothing() {
        let hasher = PasswordHasher::start(1, 8).expect("threads");
        for damaged in [
            "",
            "plain",
            "$argon2id$v=19$m=19456,t=2,p=1$",
            "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAA",
        ] {
            let verified = hasher.verify(password("plain"), Some(damaged)).await.expect("not busy");
            assert_eq!(verified, Verified::Wrong, "{damaged:?}");
        }
    }

    #[tokio::test]
    async fn one_too_many_is_turned_away_at_once() {
        let hasher = PasswordHasher::start(1, 2).expect("threads");
        let all = (0..16).map(|_| hasher.verify(password("x"), None));
        let answers = futures(all).await;
        let refused = answers.iter().filter(|answer| answer.is_err()).count();
        assert!((13..16).contains(&refused), "one is hashed and two wait, not {}", 16 - refused);
    }

    async fn futures<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
        let mut all: Vec<_> = all.map(Box::pin).collect();
        let mut answers: Vec<Option<T>> = all.iter().map(|_| None).collect();
        std::future::poll_fn(|context| {
            for (future, answer) in all.iter_mut().zip(&mut answers) {
                if answer.is_none()
                    && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
                {
                    *answer = Some(value);
                }
            }
            if answers.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
        answers.into_iter().flatten().collect()
    }
}
